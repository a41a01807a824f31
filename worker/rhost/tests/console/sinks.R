sink("o.txt"); cat("hidden\n"); print(1); message("seen"); sink(); readLines("o.txt")
con <- file("m.txt", "w"); sink(con, type="message"); message("hid"); warning("hidw"); sink(type="message"); close(con); readLines("m.txt")
capture.output(print(1:3), cat("x\n")); capture.output(message("m"), type="message")
tc <- textConnection("out", "w"); sink(tc); print(2); sink(); close(tc); out
