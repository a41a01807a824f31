cat("a\n"); system("echo b"); cat("c\n")
system("echo d >&2"); message("e")
x <- system("echo f", intern = TRUE); x
system("exit 3")
invisible(system("exit 3"))
system2("echo", "g")
