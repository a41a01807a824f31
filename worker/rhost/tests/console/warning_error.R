options(warn = 2)
f <- function() as.integer("x")
f()
