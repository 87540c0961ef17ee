"""How a training went: what was lost on the way, and whether it helped on what was not learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stinger.errors import UsageError
from stinger.plots.style import ALARM, MUTED, colour, figure, panels


def plot_history(
    history: Sequence[Mapping[str, float]], best_step: int, path: Path, *, classes: int, title: str = "Training"
) -> None:
    """Draw losses on the left, accuracy on the validation part on the right.

    Args:
        history: A row for each look: ``step`` and any of ``training_loss``, ``validation_loss`` and
            ``validation_accuracy``.
        best_step: Which step was kept.
        path: The PNG file.
        classes: How many there are: a guess is right so often.
        title: Heading.

    Raises:
        UsageError: Nothing was looked at.
        InputError: The place cannot be written.
    """
    if not history:
        raise UsageError("nothing to draw: the training was never looked at")
    with figure(9.0, 3.6, path) as drawing:
        losses, accuracy = panels(drawing, 2)
        for axes, names in ((losses, ("training_loss", "validation_loss")), (accuracy, ("validation_accuracy",))):
            for number, name in enumerate(names):
                rows = [row for row in history if name in row]
                axes.plot(
                    [row["step"] for row in rows],
                    [row[name] for row in rows],
                    "o-",
                    color=colour(number),
                    markersize=4,
                    linewidth=1.6,
                    label=name.replace("_", " "),
                )
            axes.axvline(best_step, color=ALARM, linewidth=1.0, linestyle=":", label=f"kept: step {best_step}")
            axes.set_xlabel("step")
            axes.grid(True)
        accuracy.axhline(1 / classes, color=MUTED, linestyle="--", linewidth=1.2, label="guessing")
        accuracy.set_ylim(-0.03, 1.03)
        losses.margins(y=0.1)
        losses.set_ylim(bottom=0)
        losses.set_title("loss")
        accuracy.set_title("accuracy")
        for axes in (losses, accuracy):
            axes.legend(fontsize=8.5)
        drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")
