fit <- lm(mpg ~ wt, mtcars)
fit
summary(fit)
anova(fit)
t.test(extra ~ group, data = sleep)
