# The host's own functions, in the order in which setup.rs takes them. They live where user code does not reach, and call
# base by way of their environment.

local({
  plots <- new.env()
  plots$work <- NULL
  plots$open <- integer()
  plots$stages <- character()

  plot_files <- function() list.files(plots$work, "^unnamedplot[0-9]{3,}[.]png$")

  # R numbers the pages of a device from 1. While earlier plots are there, new ones wait in a place of their own, and get
  # the next numbers when the run ends.
  device <- function(...) {
    folder <- plots$work
    if (length(plot_files())) {
      folder <- tempfile("plots")
      dir.create(folder)
      plots$stages <- c(plots$stages, folder)
    }
    pattern <- file.path(gsub("%", "%%", folder, fixed = TRUE), "unnamedplot%03d.png")
    grDevices::png(pattern, width = 400, height = 400, type = "cairo")
    plots$open <- c(plots$open, grDevices::dev.cur())
  }

  close_plots <- function() {
    for (number in intersect(plots$open, grDevices::dev.list())) {
      path <- attr(.Devices[[number]], "filepath")
      if (length(path) && endsWith(path, "unnamedplot%03d.png")) grDevices::dev.off(number)
    }
    plots$open <- integer()
    for (folder in plots$stages) {
      taken <- as.integer(gsub("[^0-9]", "", plot_files()))
      pages <- sort(list.files(folder, full.names = TRUE))
      numbers <- max(taken, 0L) + seq_along(pages)
      file.rename(pages, file.path(plots$work, sprintf("unnamedplot%03d.png", numbers)))
      unlink(folder, recursive = TRUE)
    }
    plots$stages <- character()
  }

  parse_message <- function(text) tryCatch({
    parse(text = text, keep.source = FALSE)
    ""
  }, error = conditionMessage)

  promise <- function(code)
    eval(call("delayedAssign", ".Last.value", code, globalenv(), baseenv()))

  end_of_run <- function() {
    if (length(plots$open) || length(plots$stages)) close_plots()
    while (sink.number() > 0L) sink()
    if (sink.number(type = "message") != 2L) sink(type = "message")
  }

  settle <- function(work) {
    assign(".lib.loc", c(file.path(work, ".library"), .libPaths()), envir = environment(.libPaths))
    plots$work <- work
    work
  }

  options(device = device)
  lapply(list(parse_message, promise, end_of_run, settle), compiler::cmpfun)
})
