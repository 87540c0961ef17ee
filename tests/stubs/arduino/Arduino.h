// Just enough of Arduino's interface for a compiler to check the example sketches: names and types, no code.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { LOW, HIGH };
enum { INPUT, OUTPUT };
enum { LED_BUILTIN = 25, A0 = 26 };

class Port {
  public:
    void begin(unsigned long baud);
    int available();
    int read();
    size_t print(const char *text);
    size_t print(char c);
    size_t print(long number);
    size_t println(const char *text);
    size_t println(long number);
};
extern Port Serial;

unsigned long micros();
void delay(unsigned long ms);
void pinMode(int pin, int mode);
void digitalWrite(int pin, int value);
int analogRead(int pin);

void setup();
void loop();
void setup1();
void loop1();
