1
x <- 2
x
(x <- 3)
invisible(4)
NULL
if (FALSE) 1
f <- function() invisible(5)
f()
(f())
y = z <- 1; y; z
