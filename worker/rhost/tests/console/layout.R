1 +
  2
if (TRUE) {
  1
} else {
  2
}
"multi
line string"
r"(raw \n string)"
x <- c(1,

2
)
x
# comment at end
5 # trailing comment
'a'; `my var` <- 3; `my var`
5 -> a; a
{ 1; 2 }
(1)
-1
!TRUE
NULL
