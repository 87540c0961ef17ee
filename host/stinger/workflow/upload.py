"""Files to the Nstrumenta platform, if the user wants that: off unless ``NSTRUMENTA_API_KEY`` is set.

The key is what the platform gives out, ``<secret>:<base64 of the server's address>``. Uploading a file takes two
requests: one to the server, which answers with an address that may be written to once, and one that puts the file
there. The key goes to the server only and into no message; where it goes must be https (or this machine itself);
nothing is waited for without end.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from stinger.errors import InputError, LinkError, UsageError
from stinger.sessions.mcap_format.experiment import experiment_path
from stinger.sessions.mcap_format.labels import labels_path
from stinger.workflow.progress import Progress

KEY = "NSTRUMENTA_API_KEY"
MAX_FILE_BYTES = 4 << 30
_MAX_ANSWER = 1 << 16
_MAX_KEY = 4096
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Uploader(Protocol):
    """Where files can be sent."""

    def upload(self, path: Path, name: str, *, overwrite: bool) -> str:
        """Send a file.

        Args:
            path: The file.
            name: What it is called there.
            overwrite: Whether one of that name may be replaced.

        Returns:
            Where it is now, for people.

        Raises:
            LinkError: It could not be sent.
        """
        ...


def uploader_from_environment(environment: Mapping[str, str] = os.environ) -> Uploader | None:
    """Return where the environment's key sends files; None if there is no key.

    Raises:
        UsageError: There is one, but it is none of Nstrumenta.
    """
    key = environment.get(KEY, "").strip()
    return nstrumenta(key) if key else None


def required_uploader(environment: Mapping[str, str] = os.environ) -> Uploader:
    """Return where the environment's key sends files.

    Raises:
        UsageError: There is no key, or it is none of Nstrumenta.
    """
    uploader = uploader_from_environment(environment)
    if uploader is None:
        raise UsageError(f"uploading needs the environment variable {KEY}; set it, or leave uploading out")
    return uploader


def upload_files(
    paths: Sequence[Path], uploader: Uploader, progress: Progress, *, overwrite: bool = False
) -> list[str]:
    """Send files, each under its own name.

    Args:
        paths: The files; all are looked at before the first is sent.
        uploader: Where to.
        progress: Says what is being done.
        overwrite: Whether files of these names may be replaced there.

    Returns:
        Where each is now, for people.

    Raises:
        UsageError: Two files have the same name.
        InputError: One of them cannot be read.
        LinkError: One could not be sent; those before it were.
    """
    names = [path.name for path in paths]
    if len(set(names)) != len(names):
        raise UsageError("two of the files to upload have the same name; rename one")
    for path in paths:
        if not path.is_file():
            raise InputError(f"cannot upload {path}: it is no file; give files")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"cannot upload {path}: it is larger than {MAX_FILE_BYTES >> 30} GiB; split it")
    places = []
    for path in paths:
        progress.step(f"uploading {path.name} ({path.stat().st_size / 1e6:.1f} MB)")
        places.append(uploader.upload(path, path.name, overwrite=overwrite))
    return places


def made_files(target: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """List what a verb made: each ``file`` of its rows, and what lies beside it, labels and experiment.

    Args:
        target: The file, or the directory they are in.
        rows: The verb's summary.
    """
    files = [target] if target.suffix else [target / str(row["file"]) for row in rows]
    return [path for file in files for path in (file, labels_path(file), experiment_path(file)) if path.is_file()]


def nstrumenta(key: str) -> Nstrumenta:
    """Return the server that a key belongs to.

    Raises:
        UsageError: The key has another form.
    """
    secret, _, encoded = key.partition(":")
    try:
        server = base64.b64decode(encoded, validate=True).decode("ascii").strip().rstrip("/")
    except (binascii.Error, ValueError):
        server = ""
    if not secret or len(key) > _MAX_KEY or not key.isascii() or not key.isprintable() or not _is_safe(server):
        raise UsageError(
            f"{KEY} is not <secret>:<base64 of an https address>; copy it again from the project's settings"
        )
    return Nstrumenta(server, key)


@dataclass(frozen=True)
class Nstrumenta:
    """A project on an Nstrumenta server.

    Attributes:
        server: Its address, without a slash at the end.
        key: The project's whole key; never shown.
        wait_s: Longest silence of the other side.
        limit_s: Longest time that one file may take.
    """

    server: str
    key: str = field(repr=False)
    wait_s: float = 30.0
    limit_s: float = 1800.0

    def upload(self, path: Path, name: str, *, overwrite: bool) -> str:
        """Send a file; see `Uploader`."""
        deadline = time.monotonic() + self.limit_s
        answer = self._ask_for_place(name, path.stat().st_size, overwrite=overwrite, deadline=deadline)
        place = answer.get("uploadUrl")
        if not isinstance(place, str) or not _is_safe(place):
            raise LinkError(f"{self._host}: its answer holds no https address to upload {name} to; try again later")
        try:
            with path.open("rb") as stream:
                body = _Bounded(stream, deadline)
                request = urllib.request.Request(place, data=body, method="PUT")  # noqa: S310 - https, see _is_safe
                request.add_header("Content-Length", str(path.stat().st_size))
                request.add_header("Content-Type", "application/octet-stream")
                self._open(request, name, deadline)
        except OSError as error:
            raise InputError(f"cannot upload {path}: {error.strerror or error}; give files") from error
        where = answer.get("filePath", answer.get("remoteFilePath"))
        return where if isinstance(where, str) and where.isprintable() and len(where) < 1000 else name

    def _ask_for_place(self, name: str, size: int, *, overwrite: bool, deadline: float) -> dict[str, Any]:
        """Ask where to put a file: newer servers through their tool interface, older ones at an address of its own."""
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "get_upload_data_url", "arguments": {"name": name, "overwrite": overwrite}},
        }
        answer = self._post("/mcp", call, self.key, name, deadline)
        if answer is None:
            asked = {"name": name, "size": size, "overwrite": overwrite}
            answer = self._post("/getUploadDataUrl", asked, self.key.partition(":")[0], name, deadline)
            if answer is None:
                raise LinkError(f"{self._host}: no Nstrumenta server answers there; check {KEY}")
            return answer
        return self._result_of(answer, name)

    def _result_of(self, answer: dict[str, Any], name: str) -> dict[str, Any]:
        result = answer.get("result")
        if not isinstance(result, dict) or result.get("isError") or "error" in answer:
            raise LinkError(
                f"{self._host}: the server refuses {name}; it may be there already: allow replacing it, or rename it"
            )
        found = result.get("structuredContent")
        if not isinstance(found, dict):
            content = result.get("content")
            first = content[0] if isinstance(content, list) and content else {}
            found = _parsed(str(first.get("text", ""))) if isinstance(first, dict) else None
        return found or {}

    def _post(self, where: str, message: object, key: str, name: str, deadline: float) -> dict[str, Any] | None:
        """Send JSON and return the JSON object that comes back; None if there is nothing at that address."""
        request = urllib.request.Request(self.server + where, json.dumps(message).encode(), method="POST")  # noqa: S310
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json, text/event-stream")
        request.add_header("x-api-key", key)
        content = self._open(request, name, deadline, missing_is_none=True)
        if content is None:
            return None
        text = content.decode("utf-8", "replace")
        # A tool interface may answer as a stream of one event.
        events = [line[5:] for line in text.splitlines() if line.startswith("data:")]
        answer = _parsed(events[-1] if events else text)
        if answer is None:
            raise LinkError(f"{self._host}: its answer is not what an Nstrumenta server says; check {KEY}")
        return answer

    def _open(
        self, request: urllib.request.Request, name: str, deadline: float, *, missing_is_none: bool = False
    ) -> bytes | None:
        host = urlsplit(request.full_url).hostname or "?"
        # This machine itself is not reached through a proxy.
        opener = _opener(proxies=host not in _LOOPBACK)
        try:
            with opener.open(request, timeout=max(0.001, min(self.wait_s, deadline - time.monotonic()))) as answer:
                return _limited(answer, deadline)
        except urllib.error.HTTPError as error:
            error.close()
            if missing_is_none and error.code in (404, 405):
                return None
            raise LinkError(f"{host}: {_meaning(error.code, name)}") from error
        except (TimeoutError, urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            # What an exception says may hold the address, and the address a permission.
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            late = isinstance(reason, TimeoutError)
            why = "no answer in time" if late else getattr(reason, "strerror", None) or type(reason).__name__
            raise LinkError(f"{host}: uploading {name} failed ({why}); check the network and try again") from error

    @property
    def _host(self) -> str:
        return urlsplit(self.server).hostname or "?"


def _opener(*, proxies: bool) -> urllib.request.OpenerDirector:
    """Return what opens http and https and follows no redirect: it would carry key or file to where nobody named."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler(None if proxies else {})]
    handlers += [urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()]
    for handler in [*handlers, urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler()]:
        opener.add_handler(handler)
    return opener


class _Bounded:
    """A file that can be read until a deadline."""

    def __init__(self, stream: IO[bytes], deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, count: int = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return self._stream.read(count)


def _limited(answer: Any, deadline: float) -> bytes:
    """Read an answer, bounded in size and in time, however slowly it drips."""
    content = b""
    while len(content) <= _MAX_ANSWER:
        part = answer.read1(_MAX_ANSWER)
        if not part:
            return content
        content += part
        if time.monotonic() > deadline:
            raise TimeoutError
    raise ValueError


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_safe(address: str) -> bool:
    """Whether an address is https, or on this machine."""
    try:
        parts = urlsplit(address)
        local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        plain = address.isascii() and address.isprintable() and " " not in address
        return plain and bool(parts.hostname) and parts.username is None and (parts.scheme == "https" or local)
    except ValueError:
        return False


def _meaning(code: int, name: str) -> str:
    meanings = {
        401: f"the key is not accepted; check {KEY}",
        403: f"the key is not accepted; check {KEY}",
        409: f"{name} is there already; allow replacing it, or rename it",
        413: f"{name} is too large for the server; split it",
        429: "too many requests; try again later",
    }
    return meanings.get(code, f"the server answers {code} to uploading {name}; try again later")
