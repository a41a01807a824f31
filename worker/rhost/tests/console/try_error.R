x <- try(stop("oops")); x; cat(x); class(x); inherits(x,"try-error"); print(attr(x,"condition")); try(stop("silent"), silent=TRUE); stopifnot("must be" = 1 == 2)
