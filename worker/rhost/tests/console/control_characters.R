cat("a\rb\r\n"); cat("10%\r"); cat("100%\n"); cat("x\by\n"); cat("a\ab\n"); cat("v\vf\f\n")
pb <- txtProgressBar(max=5, style=1); for(i in 1:5) setTxtProgressBar(pb,i); close(pb)
pb <- txtProgressBar(max=5, style=2); for(i in 1:5) setTxtProgressBar(pb,i); close(pb)
pb <- txtProgressBar(max=5, style=3, file=stderr()); for(i in 1:5) setTxtProgressBar(pb,i); close(pb)
