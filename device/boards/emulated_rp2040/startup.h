/* What startup.c knows about memory. */
#ifndef STARTUP_H
#define STARTUP_H

#include <stdint.h>

void reset_handler(void);

/* Bytes at the far end of the stack that have never been written. */
int32_t startup_stack_free(void);

#endif
