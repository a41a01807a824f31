options(warn=1)
f <- function(x) { warning("now"); x }
f(1); f(2)
for (i in 1:3) warning(i)
as.integer("a")
options(warn=0)
as.integer("b")
