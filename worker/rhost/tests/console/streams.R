writeLines("to stdout"); writeLines("to stderr", stderr()); write(1:3, ""); write("err", stderr()); print("p"); cat("c\n", file=stderr()); cat("d\n", file=""); cat("e\n", file=stdout())
write.table(head(cars,2)); write.csv(head(cars,2)); dput(list(a=1:3)); dump("letters", ""); flush(stdout()); flush.console(); format(Sys.Date(), "%Y") > "2000"
