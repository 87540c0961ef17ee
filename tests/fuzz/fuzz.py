"""Build and run the fuzz targets: `python tests/fuzz/fuzz.py image --seconds 600`; see docs/fuzzing.md.

Three builds, because no compiler that is always there has everything:

- ``address``: any C compiler, AddressSanitizer and UndefinedBehaviorSanitizer, with our own driver (driver.c).
- ``integer``: clang as PyPI's ziglang brings it; undefined behaviour, unsigned overflow (but for wraps.txt) and
  implicit conversions that change a value, all of which end the program by an illegal instruction.
- ``libfuzzer``: clang with its libraries, where it is installed: both of the above, guided by coverage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEVICE = HERE.parent.parent / "device"
TARGETS = ("image", "commands", "frames", "store")
BUILDS = ("address", "integer", "libfuzzer")
MAX_LEN = 4096

_STRICT = ("-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-pedantic")
#: Images may be of models that need three sensors.
_LIMITS = {"image": ("-DSTINGER_MAX_CHANNELS=9", "-DSTINGER_MAX_TRIADS=3")}
_WRAPS = f"-fsanitize-ignorelist={HERE / 'wraps.txt'}"
#: `zig cc` knows only -fsanitize=undefined; the compiler in it knows the rest, but there are no messages.
_ZIG_CHECKS = "unsigned-integer-overflow,implicit-unsigned-integer-truncation,implicit-signed-integer-truncation," + (
    "implicit-integer-sign-change"
)
_FLAGS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "integer": (
        "-fsanitize=undefined",
        "-fsanitize-trap=undefined",
        *(part for flag in ("-fsanitize=", "-fsanitize-trap=") for part in ("-Xclang", flag + _ZIG_CHECKS)),
        _WRAPS,
    ),
    "libfuzzer": (
        "-fsanitize=fuzzer,address,undefined,integer,implicit-conversion",
        "-fno-sanitize=unsigned-shift-base",  # bits that a shift drops are no overflow
        "-fno-sanitize-recover=all",
        _WRAPS,
    ),
}


def clang() -> str | None:
    """A clang that may have libFuzzer."""
    names = ("clang", *(f"clang-{version}" for version in range(30, 10, -1)))
    return next(filter(None, map(shutil.which, names)), None)


def build(target: str, kind: str, folder: Path, device: Path = DEVICE) -> Path:
    """Compile one target; raises CalledProcessError with what the compiler said on standard error."""
    library, common = device / "stinger_ml", device / "boards" / "common"
    sources = [HERE / f"fuzz_{target}.c", *sorted(library.glob("*.c"))]
    sources += sorted(common.glob("*.c")) if target == "commands" else []
    sources += [HERE / "driver.c"] if kind != "libfuzzer" else []
    program = folder / f"fuzz_{target}_{kind}"
    include = [f"-I{path}" for path in (library, common, HERE)]
    compile_checked(kind, sources, program, [*_LIMITS.get(target, ()), *include])
    return program


def compile_checked(kind: str, sources: list[Path], program: Path, options: list[str]) -> None:
    """Compile C with the checks of one of the builds."""
    compiler = {
        "address": ["cc"],
        "integer": [sys.executable, "-m", "ziglang", "cc"],
        "libfuzzer": [clang() or "clang"],
    }
    subprocess.run([*compiler[kind], *_STRICT, *_FLAGS[kind], *options, *sources, "-o", program], check=True)


def run(program: Path, target: str, folder: Path, *, seconds: int = 0, runs: int | None = None, seed: int = 1) -> str:
    """Run a target on its corpus and for a while; what it said at the end. It runs in `folder`, where crashes stay."""
    found = folder / f"found_{target}"  # libFuzzer adds to the first corpus
    found.mkdir(exist_ok=True)
    command = [str(program), f"-seed={seed}", f"-max_len={MAX_LEN}"]
    command += [f"-max_total_time={seconds}"] if runs is None else [f"-runs={runs}"]
    command += ["-print_final_stats=1", "-timeout=20"] if program.name.endswith("libfuzzer") else []
    command += [str(found), str(HERE / "corpus" / target)]
    # gcc's UndefinedBehaviorSanitizer tells only by a signal that it is about to end the program.
    environment = {**os.environ, "UBSAN_OPTIONS": "abort_on_error=1:print_stacktrace=1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0:
        raise SystemExit(f"{said[-4000:]}\n{target}: a finding; the input lies in {folder}")
    return said


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", choices=BUILDS, default="libfuzzer" if clang() else "address")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{arguments.target}-"))
    program = build(arguments.target, arguments.build, folder)
    said = run(program, arguments.target, folder, seconds=arguments.seconds, seed=arguments.seed)
    print("\n".join(said.splitlines()[-8:]))


if __name__ == "__main__":
    main()
