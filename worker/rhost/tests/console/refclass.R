A <- setRefClass("A", fields = list(n = "numeric"), methods = list(inc = function() { n <<- n + 1; invisible(.self) }))
a <- A$new(n = 1)
a$inc()
a$n
a
