1:30
letters
c(a = 1, bb = 22)
c(TRUE, NA)
character()
integer()
1i
as.raw(1:3)
c(1.123456789, 1e10, 1e-10)
