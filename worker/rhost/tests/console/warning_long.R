f <- function(a_rather_long_argument_name) warning("a message that is long enough to be put on a line of its own, surely")
f("and a long value as well, to make the call long")
