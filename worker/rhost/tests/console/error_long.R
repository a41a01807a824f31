f <- function(x) stop("a very long message that will not fit on the same line as its call, which is long, too")
f("some long argument to make this even longer than it was")
