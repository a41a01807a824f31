f <- function() { warning("a"); warning("b"); 1 }
f()
warnings()
for (i in 1:60) warning(paste("w", i))
#---
warnings()
summary(warnings())
f(); stop("after warnings")
#---
options(warn = 1); f()
warnings()
options(warn = 2); f()
#---
options(warn = 0, nwarnings = 60)
for (i in 1:70) warning(i)
length(warnings())
