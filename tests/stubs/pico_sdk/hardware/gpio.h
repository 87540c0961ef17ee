#pragma once
#include <stdbool.h>
enum { GPIO_FUNC_SPI = 1 };
enum { GPIO_IN, GPIO_OUT };
void gpio_init(unsigned gpio);
void gpio_put(unsigned gpio, bool value);
void gpio_set_dir(unsigned gpio, bool out);
void gpio_pull_up(unsigned gpio);
void gpio_set_function(unsigned gpio, unsigned function);
