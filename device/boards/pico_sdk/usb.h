/* The host's line: one CDC serial port over USB. Called from the main loop only. */
#ifndef USB_H
#define USB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void usb_start(void);

/* Let the USB stack do what has come up. */
void usb_poll(void);

/* False when the stack has something to do: no time to sleep. */
bool usb_idle(void);

/* The next byte from the host, or -1. */
int usb_read_byte(void);

/* Send all of it or nothing; false without room, or while no program has the port open. */
bool usb_write(const uint8_t *data, size_t size);

/* True once the host has opened the port at 1200 baud, which asks for the boot loader. */
bool usb_touched(void);

#endif
