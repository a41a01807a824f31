list(1, "a", TRUE)
list(a = 1, b = list(c = 2, d = NULL))
list()
str(list(a = 1, b = "x"))
