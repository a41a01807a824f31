stop(structure(class = c("mine", "error", "condition"), list(message = "custom", call = NULL)))
