factor(c("a", "b", "a"))
table(c("a", "b", "a"))
as.Date("2020-02-29")
as.POSIXct(0, origin = "1970-01-01", tz = "UTC")
