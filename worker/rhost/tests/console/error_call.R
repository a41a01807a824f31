f <- function(x) stop("bad ", x)
g <- function() f(1)
g()
