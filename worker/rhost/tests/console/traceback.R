f <- function(x) g(x)
g <- function(x) stop("deep")
try(f(1), silent = TRUE)
geterrmessage()
traceback()
f(1)
#---
traceback()
sapply(1:2, function(i) g(i))
#---
traceback()
h <- function(...) do.call("f", list(...)); h(c(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23))
#---
traceback(max.lines = 2)
length(.traceback())
