geterrmessage()
try(log("a"), silent = TRUE)
#---
geterrmessage()
cat("nothing new\n")
#---
geterrmessage()
stop("mine")
#---
cat(geterrmessage())
stop("mine")
#---
cat(geterrmessage())
x <- try(stop("other"), silent = TRUE)
invokeRestart("abort")
#---
cat(geterrmessage())
