f <- function() warning("w")
f()
log(-1)
as.integer("x")
