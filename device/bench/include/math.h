/*
 * What emlearn's headers and the comparison code need of <math.h>: freestanding builds have none. The functions are
 * those of bench_math.c, under names that a compiler's own runtime does not have.
 */
#ifndef BENCH_MATH_H
#define BENCH_MATH_H

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

#define fabsf __builtin_fabsf
#define sqrtf bench_sqrtf
#define expf bench_expf
#define logf bench_logf
#define tanhf bench_tanhf

/* Correctly rounded, for every x. */
float bench_sqrtf(float x);
/* These within 3e-7 of the result, relatively. */
float bench_expf(float x);
float bench_logf(float x);
float bench_tanhf(float x);

#endif
