"""`python -m stinger` is `stinger`."""

from stinger.cli import main

main()
