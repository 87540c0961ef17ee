"""Options of the test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--port", help="serial port of the board that tests marked `hardware` may flash")
