setClass("Base", representation("VIRTUAL", id = "numeric"))
setClass("D", contains = "Base", representation(v = "character"))
d <- new("D", id = 1, v = "x"); d
setMethod("show", "Base", function(object) cat("<Base", object@id, ">\n")); d
list(d); print(d); str(d); d@v; d@id <- 2; d
setGeneric("describe", function(x, ...) standardGeneric("describe"))
setMethod("describe", "D", function(x, ...) { cat("D\n"); invisible(x) })
describe(d); (describe(d))
setMethod("+", signature("D", "D"), function(e1, e2) new("D", id = e1@id + e2@id, v = "")); d + d
setValidity("D", function(object) if (length(object@v) != 1) "one v" else TRUE)
showMethods("describe"); existsMethod("describe", "D"); validObject(d)
describe(1)
#---
d@nothing
#---
new("D", id = 1, v = c("a", "b"))
