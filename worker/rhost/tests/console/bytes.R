"\xff\xfe"
x <- "\xe9"; Encoding(x) <- "latin1"; x; print(x); cat(x, "\n"); message(x)
iconv("é", "UTF-8", "latin1")
y <- "abc\xffdef"; y; try(nchar(y)); validUTF8(y)
rawToChar(as.raw(c(0x41,0xc3,0xa9)))
"\001\002\033[31m"
cat("\033[31mred\033[0m\n")
"tab\t\"q\" \\ \u00a0"
