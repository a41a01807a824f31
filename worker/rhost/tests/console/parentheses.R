x <- c(a=1,b=2); (x["a"] <- 5); x
(y <- 1:3)[2]
((z = 4))
(function() invisible(7))()
(invisible(8))
f <- function() return(invisible(3)); f(); (f()); print(f())
