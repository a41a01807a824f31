interactive()
commandArgs(TRUE)
nchar(Sys.getenv("HOME")) > 0
