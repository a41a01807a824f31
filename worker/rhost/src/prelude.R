# Run once in the parent, in the base environment, before anything is forked.

options(
  width = 80L,
  bitmapType = "cairo",
  menu.graphics = FALSE,
  # As R's own on a pipe.
  pager = function(files, header, title, delete.file) {
    for (at in seq_along(files)) {
      if (nzchar(header[at])) writeLines(c(header[at], ""))
      writeLines(c(readLines(files[at]), ""))
    }
    if (delete.file) unlink(files)
  },
  browser = function(url) stop("there is no browser: nobody can look", call. = FALSE),
  editor = function(...) stop("there is no editor: nobody can answer", call. = FALSE)
)

# Without a person at the prompt R would answer these two itself. The callback of the console catches every other way.
local({
  replace <- function(name, value) {
    environment(value) <- baseenv()
    if (bindingIsLocked(name, baseenv())) {
      unlockBinding(name, baseenv())
      on.exit(lockBinding(name, baseenv()))
    }
    assign(name, value, envir = baseenv())
  }
  replace("readline", function(prompt = "")
    stop("readline() is not available: nobody can answer"))
  replace("browser", function(text = "", condition = NULL, expr = TRUE, skipCalls = 0L)
    if (isTRUE(as.logical(expr))) stop("browser() is not available: nobody can answer"))
})

# Long code reaches the prompt as a promise under one of these names. R sets the first anew after every expression; the
# second is a leftover of older versions of R, for code that uses the first.
local(for (name in c(".Last.value", ".__H__.rbind"))
  if (exists(name, baseenv(), inherits = FALSE)) unlockBinding(name, baseenv()))

# Code that most sessions run in one way or another, so that its functions are loaded and compiled before the fork. It
# draws no random number and leaves nothing behind.
local({
  fit <- stats::lm(mpg ~ wt, datasets::mtcars)
  print(summary(fit))
  print(stats::predict(fit, data.frame(wt = 3)))
  print(utils::head(datasets::mtcars, 2L))
  print(list(1, "a", TRUE, NULL, factor("a"), as.Date(0, origin = "1970-01-01")))
  utils::str(list(a = 1, b = "x"))
  cat(format(Sys.time()), sprintf("%d", 1L), paste0("a", 1), "\n")
  tryCatch(stop("no"), error = conditionMessage)
  withCallingHandlers(warning("no"), warning = function(w) invokeRestart("muffleWarning"))
  try(stop("no"), silent = TRUE)
  stats::aggregate(mpg ~ cyl, datasets::mtcars, mean)
  print(stats::glm(am ~ wt, stats::binomial, datasets::mtcars))
})
