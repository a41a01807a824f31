message("a"); cat("b\n"); message("c", appendLF = FALSE); cat("d")
message("")
print("e")
