f <- function(x, ...) {
  # a comment
  x + 1
}
f
sum
function(x) x^2
quote(a + b)
y ~ x
