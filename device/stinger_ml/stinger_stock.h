/*
 * stinger_stock: the stock firmware's models (MLMD version 1, docs/mlmd.md), checked and looked into, not run: they are
 * in float32, which this library does without. A store keeps them as they are.
 */
#ifndef STINGER_STOCK_H
#define STINGER_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { STINGER_STOCK_NONE = 0, STINGER_STOCK_LR, STINGER_STOCK_MLP } stinger_stock_kind;

#define STINGER_STOCK_LR_BYTES 244u
#define STINGER_STOCK_MLP_BYTES 16652u

/* Numbers of a payload: float32, of which these are the places. */
#define STINGER_STOCK_LR_COEF 36u       /* after mean[18], scale[18] */
#define STINGER_STOCK_LR_INTERCEPT 54u  /* after coef[18] */
#define STINGER_STOCK_MLP_W1 60u        /* after mean[30], scale[30] */
#define STINGER_STOCK_MLP_B3 4156u      /* the last one */

/* What an image is: NONE unless its size, header and CRC-32 are right and all of its numbers finite. */
stinger_stock_kind stinger_stock_open(const void *bytes, uint32_t size);

/* The bits of one number of an image that stinger_stock_open took. */
uint32_t stinger_stock_number(const void *bytes, uint32_t place);

#ifdef __cplusplus
}
#endif

#endif
