options(digits = 3); pi
options(width = 40); 1:30
options(scipen = 10); 1e8
getOption("digits")
