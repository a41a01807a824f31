options(warn = 1)
warning("w")
f <- function() { warning("in f"); 2 }
f()
options(warn = -1)
warning("never")
