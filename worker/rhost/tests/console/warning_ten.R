for (i in 1:10) warning(paste("w", i))
for (i in 1:11) warning(paste("w", i))
for (i in 1:60) warning(paste("w", i))
