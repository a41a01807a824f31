(function(x) x + "a")(1)
