print(pi, digits = 3)
print(c(a = "x"), quote = FALSE)
print(1:3, max = 2)
invisible(print("once"))
