/* What TinyUSB is to contain: one serial port, device side only. */
#ifndef TUSB_CONFIG_H
#define TUSB_CONFIG_H

#define CFG_TUSB_RHPORT0_MODE OPT_MODE_DEVICE
#define CFG_TUD_ENDPOINT0_SIZE 64
#define CFG_TUD_CDC 1
#define CFG_TUD_CDC_EP_BUFSIZE 64
#define CFG_TUD_CDC_RX_BUFSIZE 1024
/* Answers to a whole replay window (STINGER_REPLAY_IN_FLIGHT frames), or the longest line: nothing is dropped of what a
 * host that reads has asked for. */
#define CFG_TUD_CDC_TX_BUFSIZE 4096

#endif
