stop("a"); 2
#---
log(-1); stop("b")
#---
f <- function(n) if (n == 0) stop("bottom") else f(n - 1)
f(3)
#---
tryCatch(stop("in"), error = function(e) stop("out"))
#---
withCallingHandlers(stop("x"), error = function(e) cat("seen\n"))
#---
stopifnot("named" = FALSE)
#---
1 + "a"
#---
lm(y ~ x, data.frame(x = 1))
#---
library(notthere)
#---
requireNamespace("notthere")
loadNamespace("notthere")
#---
matrix(1:6, 4, 4) %*% 1:3
#---
list(a = 1)$a$b$c
#---
new("nothing")
#---
warning("w"); message("m"); stop("s")
#---
print.zz <- function(x, ...) stop("cannot print"); structure(1, class = "zz"); 5
#---
f <- function() { on.exit({ cat("one\n"); warning("w1") }); stop("two") }
f()
#---
source(textConnection("a b"))
#---
if (c(TRUE, FALSE)) 1
#---
parallel::mclapply(1:2, function(i) stop("m"), mc.cores = 2)
stop("\u00e9 \u65e5\u672c ", 1, call. = FALSE)
#---
stop(simpleError("boom", call = quote(f(x))))
#---
stop("multi\nline\nmessage")
#---
stop("")
#---
stop(paste(rep("long words", 200), collapse = " "))
#---
cat("half a line"); stop("after it")
