match.arg("x", c("a", "b"))
