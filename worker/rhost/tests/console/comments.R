# nothing

   # more
1 # one
#last
