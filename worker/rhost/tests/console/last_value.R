1 + 1
.Last.value + 1
x <- 5
.Last.value
