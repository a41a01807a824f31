f <- function() stop("no call", call. = FALSE)
f()
