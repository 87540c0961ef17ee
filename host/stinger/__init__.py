"""IMU recordings in, a classifier on a microcontroller out, and proof that both agree."""

from importlib.metadata import version

__version__ = version("stinger-ml")
