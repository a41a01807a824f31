sapply(1:3, function(i) if (i == 2) stop("at ", i) else i)
