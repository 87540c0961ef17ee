// The same for the file system of RP2040 and ESP cores.
#pragma once
#include "Arduino.h"

class File {
  public:
    operator bool() const;
    size_t size() const;
    int read(uint8_t *to, size_t size);
    void close();
};

class FS {
  public:
    bool begin();
    File open(const char *path, const char *mode);
    bool exists(const char *path);
    bool remove(const char *path);
};
extern FS LittleFS;
