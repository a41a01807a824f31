rlang_like <- structure(class=c("rlang_error","error","condition"), list(message="cond msg", call=NULL)); stop(rlang_like)
