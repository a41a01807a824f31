'single'
"dou\"ble"
'a\nb'
noquote('x')
print('x', quote = FALSE)
sprintf('%5.2f|%-5s|', pi, 'a')
format(Sys.Date(), '%%')
toupper('abc')
r"(raw \n)"
