"""Model images opened and run by the C library on this computer: any number of them in one program."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stinger_export.image.model import from_image
from stinger_export.integer.model import IntegerModel
from stinger_export.toolchain import compile_host, device_sources

_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")

# Input: the windows; then u32 size and bytes of an image, again and again. The windows are pushed, each after a gap.
# Output: a line for each image: its status, then for each decision its label, its probabilities and its scores.
_SOURCE = r"""
#include "stinger_image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int16_t windows[WINDOW_COUNT][WINDOW][CHANNELS];

static void run(const stinger_model *model) {
    static stinger_stream stream;
    static stinger_decision d;
    int16_t sample[STINGER_MAX_CHANNELS] = {0};
    if (!stinger_stream_init(&stream, model)) {
        printf(" refused");
        return;
    }
    uint32_t t = 0;
    for (unsigned w = 0; w < WINDOW_COUNT; w++) {
        for (unsigned i = 0; i < WINDOW; i++) {
            memcpy(sample, windows[w][i], sizeof windows[w][i]);
            if (stinger_stream_push(&stream, sample, t += model->period_us, i == 0)) {
                stinger_stream_decide(&stream, &d);
                printf(" %u", (unsigned)d.label);
                for (unsigned k = 0; k < d.classes; k++)
                    printf(",%u", (unsigned)d.probability[k]);
                for (unsigned k = 0; k < d.scores; k++)
                    printf(",%ld", (long)d.score[k]);
            }
        }
    }
}

int main(void) {
    uint32_t size;
    if (fread(windows, sizeof windows, 1, stdin) != 1)
        return 1;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        void *bytes = malloc(size + 1);
        static stinger_image image;
        if (bytes == NULL || fread(bytes, 1, size, stdin) != size)
            return 1;
        stinger_image_status status = stinger_image_open(&image, bytes, size);
        printf("%d", (int)status);
        if (status == STINGER_IMAGE_OK)
            run(&image.model);
        printf("\n");
        free(bytes);
    }
    return 0;
}
"""


@dataclass(frozen=True)
class ImageDriver:
    """The program, and the windows (int16, ``(n, window, channels)``) that every image is asked about."""

    program: Path
    windows: np.ndarray

    @classmethod
    def build(cls, folder: Path, windows: np.ndarray, *, sanitize: bool = True) -> ImageDriver:
        """Compile it, by default to stop at the first undefined behaviour."""
        channels = windows.shape[2]
        source, program = folder / "driver.c", folder / "driver"
        source.write_text(_SOURCE)
        library = device_sources() / "stinger_ml"
        compile_host(
            [source, *sorted(library.glob("*.c"))],
            program,
            include=[library],
            defines={
                "WINDOW_COUNT": len(windows),
                "WINDOW": windows.shape[1],
                "CHANNELS": channels,
                "STINGER_MAX_CHANNELS": max(6, channels),
                "STINGER_MAX_TRIADS": 3 if channels >= 9 else 2,
            },
            flags=_SANITIZE if sanitize else (),
        )
        return cls(program, windows)

    def __call__(self, *images: bytes) -> list[str]:
        """Open and run images; a line for each."""
        data = self.windows.astype("<i2").tobytes() + b"".join(struct.pack("<I", len(one)) + one for one in images)
        done = subprocess.run([self.program], input=data, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return done.stdout.decode().splitlines()


def by_numpy(data: bytes, windows: np.ndarray) -> str:
    """What the driver must say of an image."""
    return answered(from_image(data), windows)


def answered(model: IntegerModel, windows: np.ndarray) -> str:
    """The same of a model."""
    answer = model.decide(windows)
    told = zip(answer.label.tolist(), answer.probability.tolist(), answer.score.tolist(), strict=True)
    return " ".join(["0", *(",".join(map(str, [label, *share, *score])) for label, share, score in told)])
