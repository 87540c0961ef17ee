"""A board at a port: who it is, replay of samples, live streaming."""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from stinger.errors import LinkError, UsageError
from stinger.link.frames import REPLY_PREFIX, Frame, FrameReader, TextLine
from stinger.link.info import BoardInfo, parse_hello
from stinger.link.messages import Decision, FrameType, Sample
from stinger.link.replay import Replay, ReplayResult
from stinger.link.transport import Transport

_HELLO_RETRY_S = 1.0
#: As users of the stock tools send models.
_UPLOAD_CHUNK = 512
#: What the board says of a model that it does not take, and what to do.
_REFUSALS = {
    "foreign": "it is no model image of version 2; export the model again",
    "damaged": "it is damaged; export the model again",
    "malformed": "it makes no sense to the board; update its firmware with `stinger deploy`, or export the model again",
    "too large": "the board's firmware was built for smaller models or other families; flash it with `stinger deploy`",
    "crc": "it arrived damaged; try again",
    "rename": "its flash does not keep it; try again, then replace the board",
    "open": "its flash does not take it; try again, then replace the board",
    "fs": "it has no flash for models",
    "timeout": "it waited ten seconds for the rest; check the cable and try again",
}
_STREAM_REFUSALS = {
    "no sensor": "no sensor answers it; check the wires to the sensor and restart the board",
    "channels": "its sensor has fewer channels than the model; give it a model of accelerometer and gyroscope",
}
_U32 = 1 << 32


@dataclass(slots=True)
class StreamStatistics:
    """What a stream delivered and what it did not; updated while it runs.

    Attributes:
        pairs: Samples delivered together with their decisions.
        lost: Samples between the first and the last delivered that did not arrive with their decision.
        dropped: Frames the board itself had to drop because nobody read them.
    """

    pairs: int = 0
    lost: int = 0
    dropped: int = 0


class Board:
    """A board that speaks protocol version 1.

    Args:
        transport: The line to it; `close` closes it too.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reader = FrameReader()
        self._events: deque[Frame | TextLine] = deque()
        self._info: BoardInfo | None = None

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the line."""
        self._transport.close()

    @property
    def lost_bytes(self) -> int:
        """Bytes received so far that made no sense."""
        return self._reader.lost_bytes

    def hello(self, timeout: float = 3.0) -> BoardInfo:
        """Ask the board who it is; ends a stream that an earlier program left running.

        Args:
            timeout: Seconds to wait altogether. The question is repeated, since the first one may be taken for
                the rest of a line that came before.

        Raises:
            LinkError: It does not answer, has stock firmware, or answers nonsense.
        """
        refusals = 0
        attempts = max(2, math.ceil(timeout / _HELLO_RETRY_S))
        for _ in range(attempts):
            self._send("MLHELLO")
            deadline = time.monotonic() + timeout / attempts
            streaming = False
            while (event := self._next(deadline)) is not None:
                if isinstance(event, Frame):
                    streaming = True
                elif event.text.startswith(REPLY_PREFIX + "{"):
                    self._info = parse_hello(event.text.removeprefix(REPLY_PREFIX))
                    if streaming:
                        self._stop_stream()
                    return self._info
                elif event.text.startswith(REPLY_PREFIX + "ERROR"):
                    refusals += 1
                    break
            if refusals > 1:
                raise LinkError(
                    "the board does not know MLHELLO: it runs stock or older firmware; flash it with `stinger deploy`"
                )
        raise LinkError(
            f"no answer to MLHELLO within {timeout:g} s: it may run stock firmware (flash it with `stinger deploy`), "
            "or be no board"
        )

    def replay(
        self,
        samples: NDArray[np.int16],
        t_us: NDArray[np.int64],
        gap_before: NDArray[np.bool_],
        on_progress: Callable[[int, int], None] | None = None,
        timeout: float = 10.0,
    ) -> ReplayResult:
        """Send samples and collect the board's decision for each.

        Args:
            samples: int16, shape ``(n, channels)``.
            t_us: Time of each sample in microseconds, int64, shape ``(n,)``.
            gap_before: Whether each sample starts a new stretch, bool, shape ``(n,)``.
            on_progress: Called with the number of answers so far and ``n``.
            timeout: Seconds without an answer after which the board counts as gone.

        Raises:
            UsageError: The samples do not fit the board's model.
            LinkError: An answer is lost, doubled, late or wrong; names the sample.
        """
        info = self._info or self.hello()
        replay = Replay(info.model, info.max_body, samples, t_us, gap_before)
        self._command(f"MLREPLAY {replay.total}", "MLREPLAY_READY", timeout)
        sent = 0
        deadline = time.monotonic() + timeout
        while not replay.ended:
            stop = min(replay.total, replay.received + info.replay_in_flight)
            if stop > sent:
                self._transport.write(replay.frames(sent, stop))
                sent = stop
            before = replay.received
            self._take_answers(replay, deadline)
            if replay.received > before:
                deadline = time.monotonic() + timeout
                if on_progress is not None:
                    on_progress(replay.received, replay.total)
        return replay.result()

    def stream(
        self, statistics: StreamStatistics | None = None, timeout: float = 5.0, most_hz: int | None = None
    ) -> Generator[tuple[Sample, Decision], None, None]:
        """Start the board's sensor stream and yield each sample with its decision (``decision.of`` numbers them).

        The stream is stopped when the iterator is closed or fails; wrap it in ``contextlib.closing`` to say when.

        Args:
            statistics: Kept up to date, if given.
            timeout: Seconds without a decision after which the board counts as gone.
            most_hz: Let the board send at most so many a second, one of every so many; it classifies all.

        Raises:
            LinkError: The board has no sensor for its model, restarts, falls silent, or sends nonsense.
        """
        counts = statistics or StreamStatistics()
        if self._info is None:
            self.hello()
        try:
            start = "MLSTREAM START" if most_hz is None else f"MLSTREAM START {most_hz}"
            self._command(start, "MLSTREAM_ON", timeout, reasons=_STREAM_REFUSALS)
            yield from self._pairs(counts, timeout)
        finally:
            # Best effort: when the line is gone, that is the error to see, and it is on its way already.
            with suppress(LinkError):
                self._stop_stream()

    def put_model(
        self, image: bytes, on_progress: Callable[[int, int], None] | None = None, timeout: float = 15.0
    ) -> BoardInfo:
        """Store a model in the slot that is not in use, and run it from now on, restarts included.

        Args:
            image: MLMD version 2, as `stinger_export.image` makes them.
            on_progress: Called with the number of bytes sent and of all.
            timeout: Seconds the board may take for each answer.

        Returns:
            What the board says about itself afterwards.

        Raises:
            UsageError: The board has no place for it.
            LinkError: The board does not take it, and runs what it ran before.
        """
        store = (self._info or self.hello()).store
        if store is None:
            raise UsageError("the board's firmware takes no models; flash a newer one with `stinger deploy`")
        if not 0 < len(image) <= store.slot_bytes:
            raise UsageError(f"the image has {len(image):,} bytes, the board takes up to {store.slot_bytes:,}")
        command = f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}"
        self._command(command, "MLMODEL_READY", timeout, "MLMODEL_ERR", _REFUSALS)
        for start in range(0, len(image), _UPLOAD_CHUNK):
            self._transport.write(image[start : start + _UPLOAD_CHUNK])
            if on_progress is not None:
                on_progress(min(start + _UPLOAD_CHUNK, len(image)), len(image))
        self._answer("the model", "MLMODEL_OK", timeout, "MLMODEL_ERR", _REFUSALS)
        return self.hello()

    def rollback(self, timeout: float = 5.0) -> BoardInfo:
        """Run the model again that was active before; a second rollback undoes the first.

        Returns:
            What the board says about itself afterwards.

        Raises:
            LinkError: There is none, or the board does not answer.
        """
        refusals = {"rollback": "there is no model before this one"}
        self._command("MLMODEL_ROLLBACK", "MLMODEL_ROLLED_BACK", timeout, "MLMODEL_ERR", refusals)
        return self.hello()

    def _pairs(self, counts: StreamStatistics, timeout: float) -> Generator[tuple[Sample, Decision], None, None]:
        first: Frame | None = None
        due = 0  # sequence number of the next pair if nothing gets lost
        pending: tuple[int, Sample] | None = None
        deadline = time.monotonic() + timeout
        while True:
            event = self._next(deadline)
            if event is None:
                raise LinkError(f"no decision from the board for {timeout:g} s: is its sensor running? Reset it")
            if isinstance(event, TextLine):
                continue
            if first is None:
                first, due = event, event.sequence
            elif event.session != first.session:
                raise LinkError("the board restarted while streaming: its session changed; start again")
            counts.dropped = (event.dropped - first.dropped) % _U32
            if event.type == FrameType.SAMPLE:
                pending = event.sequence, Sample.unpack(event.payload)
                continue
            if event.type != FrameType.DECISION:
                raise LinkError(f"the board sent a frame of type {event.type} while streaming; flash it again")
            decision = Decision.unpack(event.payload)
            if pending is None or pending[0] != event.sequence:
                continue  # its sample got lost; the gap in the sequence counts it
            sample = pending[1]
            if (decision.of, decision.t_us) != (event.sequence, sample.t_us):
                raise LinkError(f"the board's decision {event.sequence} is not of the sample before it; flash it again")
            skipped = (event.sequence - due) % _U32
            if skipped >= _U32 // 2:
                raise LinkError(f"the board counted back from sample {due} to {event.sequence}; start again")
            counts.lost += skipped
            counts.pairs += 1
            due, pending = (event.sequence + 1) % _U32, None
            yield sample, decision
            deadline = time.monotonic() + timeout

    def _take_answers(self, replay: Replay, deadline: float) -> None:
        """Wait for one event, then take everything that has arrived with it."""
        event = self._next(deadline)
        if event is None:
            raise LinkError(f"no answer to {replay.where()}: the board fell silent; reset it and try again")
        while event is not None:
            if isinstance(event, Frame):
                replay.take(event)
            elif event.text.startswith((REPLY_PREFIX + "MLREPLAY_ERR", REPLY_PREFIX + "ERROR")):
                raise LinkError(f"the board gave up at {replay.where()}: {event.text.removeprefix(REPLY_PREFIX)}")
            event = self._events.popleft() if self._events else None

    def _stop_stream(self) -> None:
        self._command("MLSTREAM STOP", "MLSTREAM_OFF", 1.0)

    def _command(
        self,
        command: str,
        answer: str,
        timeout: float,
        refusal: str | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        """Send a command and wait for its answer; frames before it belong to what went on earlier."""
        self._send(command)
        self._answer(f"`{command}`", answer, timeout, refusal or f"{command.partition(' ')[0]}_ERR", reasons or {})

    def _answer(self, what: str, answer: str, timeout: float, refusal: str, reasons: Mapping[str, str]) -> None:
        deadline = time.monotonic() + timeout
        while (event := self._next(deadline)) is not None:
            if not isinstance(event, TextLine):
                continue
            text = event.text.removeprefix(REPLY_PREFIX)
            if text == answer:
                return
            if text.startswith((refusal, "ERROR")):
                reason = reasons.get(text.removeprefix(refusal).strip(), text)
                raise LinkError(f"the board refuses {what}: {reason}")
        raise LinkError(f"no answer to {what} within {timeout:g} s; reset the board and try again")

    def _send(self, line: str) -> None:
        self._transport.write(line.encode("ascii") + b"\n")

    def _next(self, deadline: float) -> Frame | TextLine | None:
        """Return the next frame or line, or None at the deadline."""
        while not self._events:
            left = deadline - time.monotonic()
            data = self._transport.read(max(0.0, left))
            self._events.extend(self._reader.push(data))
            # A read that gave nothing has waited for as long as it was told; an emulated board's time need not be ours.
            if not data or left <= 0:
                break
        return self._events.popleft() if self._events else None
