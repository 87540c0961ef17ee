/* USB as TinyUSB does it: descriptors, and a serial port that never waits. */
#include "usb.h"

#include <pico/unique_id.h>
#include <tusb.h>

#define TOUCH_BAUD 1200u
#define VENDOR 0x2E8Au  /* Raspberry Pi, by which hosts know an RP2040 */
#define PRODUCT 0x000Au /* their number for a serial port made with the SDK */
#define RELEASE 0x0100u
#define ENDPOINT_NOTIFY 0x81u
#define ENDPOINT_OUT 0x02u
#define ENDPOINT_IN 0x82u
#define NOTIFY_BYTES 8
#define BULK_BYTES 64
#define CURRENT_MA 100

enum { INTERFACE_CONTROL, INTERFACE_DATA, INTERFACES };
enum { STRING_LANGUAGES, STRING_MAKER, STRING_PRODUCT, STRING_SERIAL, STRING_PORT };

#define CONFIGURATION_BYTES (TUD_CONFIG_DESC_LEN + TUD_CDC_DESC_LEN)

static volatile bool touched;

static struct {
    uint8_t bytes[BULK_BYTES];
    uint32_t at;
    uint32_t size;
} input;

void usb_start(void) {
    tusb_init();
}

void usb_poll(void) {
    tud_task();
}

bool usb_idle(void) {
    return !tud_task_event_ready();
}

int usb_read_byte(void) {
    if (input.at == input.size) {
        input.at = 0;
        input.size = tud_cdc_read(input.bytes, sizeof input.bytes);
    }
    return input.at < input.size ? input.bytes[input.at++] : -1;
}

bool usb_write(const uint8_t *data, size_t size) {
    if (!tud_cdc_connected() || tud_cdc_write_available() < size) {
        return false;
    }
    tud_cdc_write(data, (uint32_t)size);
    tud_cdc_write_flush();
    return true;
}

bool usb_touched(void) {
    return touched;
}

void tud_cdc_line_coding_cb(uint8_t itf, cdc_line_coding_t const *p_line_coding) {
    (void)itf;
    if (p_line_coding->bit_rate == TOUCH_BAUD) {
        touched = true;
    }
}

/* A program has closed the port: what it did not fetch is not for the next one. */
void tud_cdc_line_state_cb(uint8_t itf, bool dtr, bool rts) {
    (void)itf;
    (void)rts;
    if (!dtr) {
        tud_cdc_write_clear();
    }
}

uint8_t const *tud_descriptor_device_cb(void) {
    static const tusb_desc_device_t device = {
        .bLength = sizeof device,
        .bDescriptorType = TUSB_DESC_DEVICE,
        .bcdUSB = 0x0200,
        .bDeviceClass = TUSB_CLASS_MISC, /* interfaces that belong together follow */
        .bDeviceSubClass = MISC_SUBCLASS_COMMON,
        .bDeviceProtocol = MISC_PROTOCOL_IAD,
        .bMaxPacketSize0 = CFG_TUD_ENDPOINT0_SIZE,
        .idVendor = VENDOR,
        .idProduct = PRODUCT,
        .bcdDevice = RELEASE,
        .iManufacturer = STRING_MAKER,
        .iProduct = STRING_PRODUCT,
        .iSerialNumber = STRING_SERIAL,
        .bNumConfigurations = 1,
    };
    return (uint8_t const *)&device;
}

uint8_t const *tud_descriptor_configuration_cb(uint8_t index) {
    static const uint8_t configuration[] = {
        TUD_CONFIG_DESCRIPTOR(1, INTERFACES, 0, CONFIGURATION_BYTES, 0, CURRENT_MA),
        TUD_CDC_DESCRIPTOR(INTERFACE_CONTROL, STRING_PORT, ENDPOINT_NOTIFY, NOTIFY_BYTES, ENDPOINT_OUT, ENDPOINT_IN,
                           BULK_BYTES),
    };
    (void)index;
    return configuration;
}

uint16_t const *tud_descriptor_string_cb(uint8_t index, uint16_t langid) {
    static uint16_t descriptor[33];
    char serial[2 * PICO_UNIQUE_BOARD_ID_SIZE_BYTES + 1];
    const char *string = NULL;
    uint32_t count = 0;
    (void)langid;

    switch (index) {
    case STRING_LANGUAGES:
        descriptor[++count] = 0x0409; /* English */
        break;
    case STRING_MAKER:
        string = "stinger";
        break;
    case STRING_PRODUCT:
        string = "Pico with stinger-ml";
        break;
    case STRING_SERIAL:
        pico_get_unique_board_id_string(serial, sizeof serial);
        string = serial;
        break;
    case STRING_PORT:
        string = "stinger-ml";
        break;
    default:
        return NULL;
    }
    while (string != NULL && *string != '\0' && count + 1 < TU_ARRAY_SIZE(descriptor)) {
        descriptor[++count] = (uint8_t)*string++;
    }
    descriptor[0] = (uint16_t)(TUSB_DESC_STRING << 8 | (2 * count + 2));
    return descriptor;
}
