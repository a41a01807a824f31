Stack <- function() { self <- environment(); items <- list(); push <- function(x) { items[[length(items)+1]] <<- x; invisible(self) }; size <- function() length(items); class(self) <- c("Stack","R6"); self }
print.R6 <- function(x, ...) cat("<", class(x)[1], " with ", x$size(), ">\n", sep="")
format.R6 <- function(x, ...) "<R6>"
s <- Stack()
s$push(1)$push(2)
s
(s$push(3))
s$size()
