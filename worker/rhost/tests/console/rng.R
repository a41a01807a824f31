set.seed(42); runif(3); rnorm(2); sample(5)
RNGkind()
