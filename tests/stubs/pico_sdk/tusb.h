#pragma once
#include "tusb_config.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define OPT_MODE_DEVICE 1
#define TU_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define TUD_CONFIG_DESC_LEN 9
#define TUD_CDC_DESC_LEN 66
#define TUD_CONFIG_DESCRIPTOR(number, interfaces, string, size, attributes, milliamperes)                              \
    number, interfaces, string, (size) & 0xFF, (size) >> 8, attributes, (milliamperes) / 2
#define TUD_CDC_DESCRIPTOR(interface, string, notify, notify_size, out, in, size)                                      \
    interface, string, notify, notify_size, out, in, size
enum { TUSB_DESC_DEVICE = 1, TUSB_DESC_STRING = 3 };
enum { TUSB_CLASS_MISC = 0xEF };
enum { MISC_SUBCLASS_COMMON = 2 };
enum { MISC_PROTOCOL_IAD = 1 };
typedef struct __attribute__((packed)) {
    uint8_t bLength, bDescriptorType;
    uint16_t bcdUSB;
    uint8_t bDeviceClass, bDeviceSubClass, bDeviceProtocol, bMaxPacketSize0;
    uint16_t idVendor, idProduct, bcdDevice;
    uint8_t iManufacturer, iProduct, iSerialNumber, bNumConfigurations;
} tusb_desc_device_t;
typedef struct __attribute__((packed)) {
    uint32_t bit_rate;
    uint8_t stop_bits, parity, data_bits;
} cdc_line_coding_t;
bool tusb_init(void);
void tud_task(void);
bool tud_task_event_ready(void);
bool tud_cdc_connected(void);
uint32_t tud_cdc_read(void *buffer, uint32_t size);
uint32_t tud_cdc_write(const void *buffer, uint32_t size);
uint32_t tud_cdc_write_available(void);
uint32_t tud_cdc_write_flush(void);
bool tud_cdc_write_clear(void);
void tud_cdc_line_coding_cb(uint8_t itf, cdc_line_coding_t const *p_line_coding);
void tud_cdc_line_state_cb(uint8_t itf, bool dtr, bool rts);
uint8_t const *tud_descriptor_device_cb(void);
uint8_t const *tud_descriptor_configuration_cb(uint8_t index);
uint16_t const *tud_descriptor_string_cb(uint8_t index, uint16_t langid);
