op <- options(digits=3); pi; options(op); pi; options(OutDec=","); 1.5; options(OutDec="."); options(scipen=100); 1e10; options(width=40); 1:40
options(max.print=5); 1:100
