f <- function() { warning("w1"); warning("w2"); stop("e") }
try(f())
f()
