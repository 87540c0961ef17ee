"""skops, imported without torch: nothing we store needs it, and where it is installed it takes seconds to load.

To learn what it may trust, skops imports every module of scikit-learn, and one of those imports torch if it can.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Missing(MetaPathFinder):
    """Says of one package that it is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse the package, and leave all others to those who come after."""
        del path, target
        if fullname.partition(".")[0] == self._name:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextmanager
def _as_if_missing(name: str) -> Iterator[None]:
    """Make a package that nobody has imported yet look as if it were not installed."""
    finder = _Missing(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


with _as_if_missing("torch"):
    from skops import io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

__all__ = ["UnsupportedTypeException", "UntrustedTypesFoundException", "io"]
