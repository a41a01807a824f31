for (i in 1:3) { print(i); if (i == 2) stop("at two") }
