"""The emulated board: the real firmware on an emulated RP2040, behind a serial port."""
