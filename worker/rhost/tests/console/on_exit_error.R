h <- function(x) { on.exit(cat("exit\n")); warning("inside"); stop("then stop") }
h(1)
