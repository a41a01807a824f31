do.call("stop", list("from do.call")) 
