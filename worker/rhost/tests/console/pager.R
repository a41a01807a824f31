writeLines(c("first", "second"), "page.txt")
file.show("page.txt")
file.show("page.txt", header = "Header", title = "Title")
page <- function(x) x
page(3)
