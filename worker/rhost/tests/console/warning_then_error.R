f <- function() { warning("first"); stop("second") }
f()
