warning("w")
1
