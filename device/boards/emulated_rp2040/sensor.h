/* The sensor of the emulated board, on SPI0; see sensor.c. */
#ifndef SENSOR_H
#define SENSOR_H

#include <stdbool.h>
#include <stdint.h>

/* The interrupt of the pin that says that samples are there. */
#define SENSOR_INTERRUPT (1u << 13) /* IO_IRQ_BANK0 */

/* Set up pins and SPI, and look for a sensor. Returns its name, or NULL. */
const char *sensor_start(uint32_t period_us);

/* False as long as the sensor needs after its start. */
bool sensor_settled(void);

#endif
