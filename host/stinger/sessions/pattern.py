"""Label and subject from file names: ``{label}.s{subject}_*.csv``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from stinger.errors import InputError, UsageError

FIELDS = ("label", "subject")
_MAX_LENGTH = 200
_TOKEN = re.compile(r"\{(\w*)\}|(\*)|(\?)|([^{}*?]+)|(.)", re.DOTALL)


@dataclass(frozen=True)
class NamePattern:
    """A compiled pattern.

    Attributes:
        text: As the user wrote it.
        expression: What it means.
    """

    text: str
    expression: re.Pattern[str]

    def match(self, name: str) -> dict[str, str]:
        """Return the fields found in a path inside a collection.

        Raises:
            InputError: The name does not look like the pattern.
        """
        subject = name if "/" in self.text else PurePosixPath(name).name
        found = self.expression.fullmatch(subject)
        if found is None:
            raise InputError(f"{name}: the name does not match the pattern {self.text!r}; correct --pattern or move it")
        return found.groupdict()


def compile_pattern(text: str) -> NamePattern:
    """Compile a file-name pattern.

    ``{label}`` and ``{subject}`` stand for one or more characters, ``*`` for any number and ``?`` for one, none of
    them a slash; each takes as few as it can. A pattern with a slash is compared with the whole path inside the
    folder or zip, any other with the file's own name.

    Raises:
        UsageError: It names an unknown or repeated field, or none at all.
    """
    if not 0 < len(text) <= _MAX_LENGTH or not text.isprintable():
        raise UsageError(f"--pattern must be 1 to {_MAX_LENGTH} printable characters")
    parts: list[tuple[bool, str]] = []
    seen: list[str] = []
    for field, star, one, literal, stray in _TOKEN.findall(text):
        if stray or (field and field not in FIELDS) or field in seen or text.count("{}"):
            raise UsageError(
                f"--pattern {text!r}: braces hold {' or '.join(FIELDS)}, each once, e.g. '{{label}}.s{{subject}}_*.csv'"
            )
        if field:
            seen.append(field)
            parts.append((True, f"(?P<{field}>[^/]+?)"))
        else:
            parts.append((True, "[^/]*?") if star else (False, "[^/]" if one else re.escape(literal)))
    if not seen:
        raise UsageError(f"--pattern {text!r} names neither {{label}} nor {{subject}}")
    return NamePattern(text, re.compile(_expression(parts), re.DOTALL))


def _expression(parts: list[tuple[bool, str]]) -> str:
    """Join the parts so that matching takes linear time: all but the last wildcard are settled once found."""
    blocks: list[str] = []
    for wild, piece in parts:
        if wild or not blocks:
            blocks.append(piece)
        else:
            blocks[-1] += piece
    return "".join(f"(?>{block})" for block in blocks[:-1]) + blocks[-1]
