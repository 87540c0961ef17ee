#pragma once
#include <stdint.h>
_Noreturn void reset_usb_boot(uint32_t activity_gpio_mask, uint32_t disable_interface_mask);
