# Makes the host's own functions, and two calls, in the order in which setup.rs takes them. They live where user code does not reach, and call
# base by way of their environment. `places` is the host's: the working directory and the session's library.

function(places) {
  work <- function() .Call(places)[1L]

  plots <- new.env()
  plots$open <- integer()
  plots$stages <- character()

  plot_files <- function() list.files(work(), "^unnamedplot[0-9]{3,}[.]png$")

  home <- R.home()

  # R finds what draws by R_HOME, which code may have changed.
  at_home <- function(open) {
    now <- Sys.getenv("R_HOME", NA)
    if (!identical(now, home)) {
      on.exit(if (is.na(now)) Sys.unsetenv("R_HOME") else Sys.setenv(R_HOME = now))
      Sys.setenv(R_HOME = home)
    }
    open()
  }

  # R numbers the pages of a device from 1. While earlier plots are there, new ones wait in a place of their own, and get
  # the next numbers when the run ends.
  device <- function(...) {
    folder <- work()
    if (length(plot_files())) {
      folder <- tempfile("plots")
      dir.create(folder)
      plots$stages <- c(plots$stages, folder)
    }
    pattern <- file.path(gsub("%", "%%", folder, fixed = TRUE), "unnamedplot%03d.png")
    at_home(function() grDevices::png(pattern, width = 400, height = 400, type = "cairo"))
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
      file.rename(pages, file.path(work(), sprintf("unnamedplot%03d.png", numbers)))
      unlink(folder, recursive = TRUE)
    }
    plots$stages <- character()
  }

  refusal <- function(text) tryCatch({
    parse(text = text, keep.source = FALSE)
    ""
  }, error = conditionMessage)

  parse_message <- function(text) {
    message <- refusal(text)
    place_told <- "^<text>:[0-9]+:[0-9]+:"
    if (!nzchar(message) || grepl(place_told, message)) return(message)
    # Of text that is no token, like "\q", R does not say where it stands: there where the shortest beginning that it refuses
    # in this way ends. What ends earlier is unfinished or fine.
    shortest <- function(longest, beginning) {
      low <- 0L
      while (longest - low > 1L) {
        middle <- (low + longest) %/% 2L
        found <- refusal(beginning(middle))
        if (nzchar(found) && !grepl(place_told, found)) longest <- middle else low <- middle
      }
      longest
    }
    lines <- strsplit(text, "\n", fixed = TRUE)[[1L]]
    line <- shortest(length(lines), function(count) paste(lines[seq_len(count)], collapse = "\n"))
    above <- paste(c(lines[seq_len(line - 1L)], ""), collapse = "\n")
    column <- shortest(nchar(lines[line]), function(count) paste0(above, substr(lines[line], 1L, count)))
    shown <- sprintf("%d: %s", line, substr(lines[line], 1L, column))
    message <- sub(" [(](<input>:[0-9]+:[0-9]+|line [0-9]+)[)]$", "", message)
    sprintf("<text>:%d:%d: %s\n%s\n%s^", line, column, message, shown, strrep(" ", nchar(shown, "width") - 1L))
  }

  # Long code reaches the prompt as a promise under one of these names, which R looks up like any other.
  carriers <- c(".Last.value", ".__H__.rbind")
  spare <- if (exists(carriers[2L], baseenv(), inherits = FALSE)) get(carriers[2L], baseenv())
  carrier <- ""

  is_free <- function(name) {
    if (!exists(name, baseenv(), inherits = FALSE) || bindingIsLocked(name, baseenv())) return(FALSE)
    frame <- globalenv()
    while (!identical(frame, baseenv())) {
      if (exists(name, frame, inherits = FALSE)) return(FALSE)
      frame <- parent.env(frame)
    }
    TRUE
  }

  choose <- function(text) {
    carrier <<- ""
    for (name in carriers) if (!grepl(name, text, fixed = TRUE) && is_free(name)) {
      carrier <<- name
      break
    }
    carrier
  }

  promise <- function(code) {
    # Code may have taken the name since it was chosen.
    if (!is_free(carrier)) stop("taken")
    eval(call("delayedAssign", carrier, code, globalenv(), baseenv()))
  }

  end_of_run <- function() {
    if (carrier == carriers[2L]) {
      try(assign(carrier, spare, baseenv()), silent = TRUE)
      carrier <<- ""
    }
    if (length(plots$open) || length(plots$stages)) close_plots()
    # sink.number() itself takes its argument apart first, after every run.
    while (.Internal(sink.number(TRUE)) > 0L) sink()
    if (.Internal(sink.number(FALSE)) != 2L) sink(type = "message")
    # Plots need a device that exists, whatever the run left here.
    current <- getOption("device")
    if (!is.function(current) && !(is.character(current) && length(current) == 1L &&
      exists(current, globalenv(), mode = "function"))) options(device = device)
  }

  # The session's library comes before the others, and is made when somebody first asks where packages are.
  libraries <- local({
    others <- .libPaths()
    all <- NULL
    function(value) {
      if (!missing(value)) {
        all <<- value
      } else if (is.null(all)) {
        own <- .Call(places)[2L]
        dir.create(own, showWarnings = FALSE, mode = "0700")
        all <<- c(own, others)
      }
      all
    }
  })
  keeper <- environment(.libPaths)
  rm(list = ".lib.loc", envir = keeper)
  makeActiveBinding(".lib.loc", compiler::cmpfun(libraries), keeper)

  warn <- 0L
  hush <- function() {
    warn <<- getOption("warn")
    options(warn = -1L)
  }
  speak <- function() options(warn = warn)

  # Whatever R writes, by what it begins with: a file of save() holds objects under names, anything else is one object alone.
  # The connection itself tells plain bytes from gzip, bzip2 and xz.
  read_object <- function(name, file) tryCatch({
    opened <- NULL
    on.exit(if (!is.null(opened)) close(opened))
    opened <- gzfile(file, "rb")
    is_saved <- grepl("^RD[ABX][23]\n", readChar(opened, 5L, useBytes = TRUE), useBytes = TRUE)
    close(opened)
    opened <- gzfile(file, "rb")
    if (is_saved) {
      objects <- new.env(hash = TRUE, parent = emptyenv())
      names <- load(opened, objects)
      if (!length(names)) stop("the file holds no object", call. = FALSE)
      value <- get(if (name %in% names) name else names[1L], objects, inherits = FALSE)
    } else value <- readRDS(opened)
    assign(name, value, globalenv())
    ""
  }, error = conditionMessage)

  remove_object <- function(name) {
    if (!exists(name, globalenv(), inherits = FALSE)) return("")
    rm(list = name, envir = globalenv())
    "removed"
  }

  close_connections <- function(kept) {
    for (number in setdiff(getAllConnections(), c(0:2, kept))) close(getConnection(number))
  }

  close_devices <- function(kept) {
    for (number in setdiff(grDevices::dev.list(), kept)) grDevices::dev.off(number)
  }

  # In megabytes, after a collection.
  heap_size <- function(full) sum(gc(full = full)[, 2L])
  heap_at_start <- heap_size(full = TRUE)

  # Functions as R itself would have them after their second call, which no call of a service comes to.
  compile_globals <- function() {
    for (name in ls(globalenv(), all.names = TRUE, sorted = FALSE)) if (!is_active(name) && !is_locked(name)) tryCatch({
      value <- get(name, globalenv(), inherits = FALSE)
      if (typeof(value) == "closure")
        assign(name, compiler::cmpfun(value, options = list(suppressAll = TRUE)), globalenv())
    }, error = function(e) NULL)
  }

  # What every call of a service would have of the same: a file or a program on the other end, a page, random numbers.
  before_calls <- function() {
    end_of_run()
    close_devices(NULL)
    close_connections(NULL)
    if (exists(".Random.seed", globalenv(), inherits = FALSE)) rm(list = ".Random.seed", envir = globalenv())
    compile_globals()
    # To collect everything is to write to all of the heap, and most of it is still shared with the process that this one was
    # forked from: worth it where the service's own part is the larger one.
    if (heap_size(full = FALSE) > 2 * heap_at_start) gc()
  }

  # What lies below a folder. Links are not followed.
  files <- function(folder, but = character()) {
    found <- setdiff(list.files(folder, all.files = TRUE, full.names = TRUE, no.. = TRUE), but)
    folders <- found[dir.exists(found) & !nzchar(Sys.readlink(found))]
    c(found, unlist(lapply(folders, files)))
  }

  own_files <- function() files(work(), file.path(work(), ".library"))

  attached <- function() lapply(seq_along(search()), as.environment)

  is_active <- function(name) exists(name, globalenv(), inherits = FALSE) && bindingIsActive(name, globalenv())
  is_locked <- function(name) exists(name, globalenv(), inherits = FALSE) && bindingIsLocked(name, globalenv())

  # Values are kept, not copied: who changes one changes a copy. A promise that fails, and an active binding, stay what they are.
  global_values <- function() {
    values <- new.env(hash = TRUE, parent = emptyenv())
    for (name in ls(globalenv(), all.names = TRUE, sorted = FALSE)) if (!is_active(name))
      tryCatch(assign(name, get(name, globalenv(), inherits = FALSE), values), error = function(e) NULL)
    values
  }

  put_back_globals <- function(names, values, locked) {
    gone <- setdiff(ls(globalenv(), all.names = TRUE, sorted = FALSE), names)
    rm(list = gone, envir = globalenv())
    for (name in ls(values, all.names = TRUE, sorted = FALSE)) {
      if (is_active(name)) rm(list = name, envir = globalenv())
      if (is_locked(name)) unlockBinding(name, globalenv())
      assign(name, get(name, values, inherits = FALSE), globalenv())
      if (name %in% locked) lockBinding(name, globalenv())
    }
  }

  put_back_options <- function(kept) {
    now <- options()
    gone <- setdiff(names(now), names(kept))
    changed <- Filter(function(name) !identical(now[[name]], kept[[name]]), names(kept))
    for (name in c(gone, changed)) options(structure(list(kept[[name]]), names = name))
  }

  put_back_search <- function(names, environments) {
    is_kept <- function(at) any(vapply(environments, identical, NA, as.environment(at)))
    for (at in rev(seq_along(search()))) if (!is_kept(at)) detach(pos = at, force = TRUE)
    for (at in seq_along(names)) if (!names[at] %in% search() && startsWith(names[at], "package:"))
      attachNamespace(substring(names[at], 9L), pos = at)
  }

  put_back_variables <- function(kept) {
    now <- unclass(Sys.getenv())
    Sys.unsetenv(setdiff(names(now), names(kept)))
    changed <- Filter(function(name) !identical(unname(now[name]), unname(kept[name])), names(kept))
    if (length(changed)) do.call(Sys.setenv, as.list(kept[changed]))
  }

  before <- NULL
  remember <- function() {
    names <- ls(globalenv(), all.names = TRUE, sorted = FALSE)
    before <<- list(
      names = names, values = global_values(), locked = Filter(is_locked, names),
      options = options(), search = search(), attached = attached(),
      variables = unclass(Sys.getenv()), folder = getwd(), files = own_files(),
      random = RNGkind(), devices = grDevices::dev.list(), connections = getAllConnections(),
      libraries = environment(libraries)$all
    )
  }

  # One step that fails keeps no other from being taken.
  put_back <- function() {
    kept <- before
    before <<- NULL
    # It was not begun.
    if (is.null(kept)) return("")
    steps <- list(
      function() close_devices(kept$devices),
      function() close_connections(kept$connections),
      function() do.call(RNGkind, as.list(kept$random)),
      function() put_back_globals(kept$names, kept$values, kept$locked),
      function() put_back_search(kept$search, kept$attached),
      function() put_back_variables(kept$variables),
      function() setwd(kept$folder),
      function() unlink(setdiff(own_files(), kept$files), recursive = TRUE, force = TRUE, expand = FALSE),
      function() assign("all", kept$libraries, environment(libraries)),
      function() put_back_options(kept$options)
    )
    failed <- vapply(steps, function(step) tryCatch({
      suppressWarnings(step())
      ""
    }, error = conditionMessage), "")
    paste(failed[nzchar(failed)], collapse = "; ")
  }

  options(device = device)
  functions <- list(parse_message, choose, promise, end_of_run, hush, speak, read_object, remove_object, before_calls, remember,
    put_back)
  functions <- lapply(functions, compiler::cmpfun)
  c(functions, quote(.Internal(sink.number(TRUE))), quote(.Internal(sink.number(FALSE))))
}
