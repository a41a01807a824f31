print.thing <- function(x, ...) { cat("<thing>\n"); invisible(x) }
x <- structure(list(), class = "thing")
x
list(x)
format.other <- function(x, ...) "other"
structure(1, class = "other")
