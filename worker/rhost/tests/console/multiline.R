x <- c(1,
       2,

       3)
x
if (TRUE) {
  'yes'
} else {
  'no'
}
for (i in 1:2)
  print(i)
y <- 'a
b'
y
