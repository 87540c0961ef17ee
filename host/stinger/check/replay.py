"""Getting a board's answers for a stream: from the native program (L3) or from whatever is at a port (L4, L5)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from stinger.errors import CheckFailedError
from stinger.link.board import Board
from stinger.link.info import BoardInfo
from stinger.link.replay import ReplayResult
from stinger.link.transport import ProcessTransport, open_port
from stinger.windows.replay import ReplayStream
from stinger_export.bundle import Bundle
from stinger_export.firmware import build_native

OnProgress = Callable[[int, int], None]


def replay_native(source_dir: Path, stream: ReplayStream, *, sanitize: bool = False) -> ReplayResult:
    """Compile the generated C for this computer and replay the stream into it (L3).

    Raises:
        ToolchainError: It does not compile.
        LinkError: The program fails.
    """
    with tempfile.TemporaryDirectory(prefix="stinger-native-") as folder:
        program = build_native(source_dir, Path(folder), sanitize=sanitize)
        with Board(ProcessTransport([program])) as board:
            return board.replay(stream.samples, stream.t_us, stream.gap_before)


def replay_port(
    port: str, bundle: Bundle, stream: ReplayStream, on_progress: OnProgress | None = None
) -> tuple[BoardInfo, ReplayResult]:
    """Replay the stream into the board at a port, after making sure that it runs the bundle's model.

    Raises:
        CheckFailedError: It runs another model.
        LinkError: The board cannot be reached, or answers are lost.
    """
    with Board(open_port(port)) as board:
        info = board.hello()
        require_model(info, bundle, port)
        return info, board.replay(stream.samples, stream.t_us, stream.gap_before, on_progress=on_progress)


def require_model(info: BoardInfo, bundle: Bundle, port: str) -> None:
    """Refuse a board that runs another model than the bundle's.

    Raises:
        CheckFailedError: Names both models.
    """
    if info.model.hash != bundle.integer.hash:
        raise CheckFailedError(
            f"the board at {port} runs model {info.model.name} ({info.model.hash}), the bundle holds "
            f"{bundle.spec.name} ({bundle.integer.hash}); flash it with `stinger deploy` or name its own bundle"
        )
