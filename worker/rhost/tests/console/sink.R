sink(tempfile()); 1; sink(); 2
capture.output(print(1:3))
invisible(capture.output(3))
