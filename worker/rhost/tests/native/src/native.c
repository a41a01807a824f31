#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <R.h>
#include <Rinternals.h>

void say_rprintf(char **text) { Rprintf("%s\n", *text); }
void say_printf(char **text) { printf("%s\n", *text); }
void say_puts(char **text) { puts(*text); }
void say_stderr(char **text) { fprintf(stderr, "%s\n", *text); }

SEXP say_number(SEXP x)
{
    printf("%g ", REAL(x)[0]);
    Rprintf("%g ", REAL(x)[0]);
    if (REAL(x)[0] < 0) error("%g is less than nothing", REAL(x)[0]);
    return x;
}

SEXP call_back(SEXP f, SEXP env)
{
    printf("before ");
    SEXP call = PROTECT(lang1(f));
    SEXP value = eval(call, env);
    UNPROTECT(1);
    printf("after\n");
    return value;
}

void null_dereference(void) { volatile int *nowhere = 0; *nowhere = 1; }

static int deeper(volatile int n)
{
    volatile char room[4096];
    room[0] = (char) n;
    return deeper(n + 1) + room[0];
}

void endless_recursion(void) { deeper(0); }
void abort_process(void) { abort(); }

static void *wait_for_ever(void *nothing) { for (;;) pause(); return nothing; }

void start_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, wait_for_ever, 0);
}
