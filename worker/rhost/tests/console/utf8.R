"äöü"
x <- c(é = 1, 中文 = 2)
x
cat("日本語\n")
nchar("中文")
"\u00e9"
data.frame(名 = c("あ", "b"))
message("é")
