list(1)[[3]]
