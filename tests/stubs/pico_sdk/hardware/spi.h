#pragma once
#include <stddef.h>
#include <stdint.h>
#define PICO_DEFAULT_SPI_RX_PIN 16
#define PICO_DEFAULT_SPI_CSN_PIN 17
#define PICO_DEFAULT_SPI_SCK_PIN 18
#define PICO_DEFAULT_SPI_TX_PIN 19
typedef struct spi_inst spi_inst_t;
typedef enum { SPI_CPHA_0, SPI_CPHA_1 } spi_cpha_t;
typedef enum { SPI_CPOL_0, SPI_CPOL_1 } spi_cpol_t;
typedef enum { SPI_LSB_FIRST, SPI_MSB_FIRST } spi_order_t;
extern spi_inst_t *const spi_default;
unsigned spi_init(spi_inst_t *spi, unsigned baudrate);
void spi_set_format(spi_inst_t *spi, unsigned bits, spi_cpol_t polarity, spi_cpha_t phase, spi_order_t order);
int spi_write_read_blocking(spi_inst_t *spi, const uint8_t *source, uint8_t *target, size_t size);
