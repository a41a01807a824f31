pb <- txtProgressBar(0, 3, style = 3)
for (i in 1:3) setTxtProgressBar(pb, i)
close(pb)
for (i in 1:3) cat("\r", i); cat("\n")
