f <- function() { on.exit(cat("bye\n")); stop("x") }
try(f())
f()
