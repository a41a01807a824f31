cat("日本語", "🎉", "e\u0301", "\n")
x <- c("日本語", "🎉", "e\u0301", "ﷺ", "\u200b", "\U10FFFF", "\ud7ff", "a\u0300\u0301b")
x
nchar(x, "width"); nchar(x, "chars"); format(x); formatC(x, width=10)
data.frame(x=x, n=seq_along(x))
noquote(x)
matrix(x, 2)
list(`日`=1, `🎉`=2)
factor(x)
