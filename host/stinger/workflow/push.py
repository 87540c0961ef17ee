"""`stinger push`: another model onto a board whose firmware stays, and the one before it again."""

from __future__ import annotations

from stinger.errors import CheckFailedError
from stinger.link.board import Board
from stinger.link.info import BoardInfo
from stinger.link.transport import open_port
from stinger.workflow.progress import Progress
from stinger_export.bundle import Bundle


def push(bundle: Bundle, port: str, progress: Progress) -> BoardInfo:
    """Store a bundle's model in the board's flash and run it; what ran before can be gone back to.

    Args:
        bundle: The bundle.
        port: Where the board is.
        progress: Told of each step.

    Returns:
        What the board says about itself then.

    Raises:
        InputError: No board can run the bundle's model.
        UsageError: The board takes no models, or none of this size.
        LinkError: The board cannot be reached or refuses the model; it runs what it ran before.
        CheckFailedError: It runs another model in spite of all.
    """
    integer, image = bundle.integer, bundle.image()
    with Board(open_port(port)) as board:
        before = board.hello()
        progress.step(f"{port}: {before.model.name} ({before.model.hash}) runs")
        progress.step(f"{port}: storing {bundle.spec.name} ({integer.hash}), {len(image):,} bytes")
        with progress.bar(bundle.spec.name) as show:
            info = board.put_model(image, show)
    if info.model.hash != integer.hash:
        raise CheckFailedError(
            f"the board at {port} runs {info.model.name} ({info.model.hash}), not the model it was given "
            f"({integer.hash}); reset it and push again"
        )
    return info


def rollback(port: str, progress: Progress) -> BoardInfo:
    """Run the model again that the board ran before the last push; a second time undoes it.

    Raises:
        LinkError: There is none, or the board cannot be reached.
    """
    with Board(open_port(port)) as board:
        before = board.hello()
        progress.step(f"{port}: taking back {before.model.name} ({before.model.hash})")
        return board.rollback()
