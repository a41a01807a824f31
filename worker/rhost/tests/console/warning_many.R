for (i in 1:5) warning(paste("w", i))
1
