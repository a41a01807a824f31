library(R6)
Person <- R6Class("Person",
  public = list(
    name = NULL,
    initialize = function(name) self$name <- name,
    greet = function() { cat("hello,", self$name, "\n"); invisible(self) }
  ),
  private = list(secret = 1),
  active = list(loud = function() toupper(self$name))
)
p <- Person$new("Ann")
p
p$greet()$greet()
(p$greet())
p$loud
Quiet <- R6Class("Quiet", inherit = Person, public = list(print = function(...) { cat("<Quiet ", self$name, ">\n", sep = ""); invisible(self) }))
q <- Quiet$new("Bob")
q
list(q)
q$clone()
p$loud <- "no"
#---
p$nothing()
