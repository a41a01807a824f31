suppressWarnings({ warning("w"); 1 })
suppressMessages({ message("m"); 2 })
withCallingHandlers(
  { warning("w"); "value" },
  warning = function(w) { cat("caught", conditionMessage(w), "\n"); invokeRestart("muffleWarning") })
