"""Training a transformer with transformers' `Trainer`, so that it can be interrupted, repeated and watched.

A run has a folder. Checkpoints in it are written every so many steps, each time the validation part is measured; a run
that is resumed ends in the weights of one that was never interrupted. It stops early where the validation loss has not
improved for some measurements, and the weights of the best measurement are what it ends with. Losses and accuracies
are logged for TensorBoard.

Checkpoints hold an optimiser's state in PyTorch's format, read back with `weights_only`: resume what you began
yourself.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.models.ast.examples import Examples
from stinger.models.ast.folder import WEIGHTS, Checked, load_net, new_net
from stinger.models.ast.libraries import MOST_THREADS, Library, alone, load_transformers, require_training
from stinger.models.ast.parts import Parts
from stinger.models.ast.sizes import Shape

CHECKPOINTS, LOGS = "checkpoints", "logs"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_EVAL_BATCH = 8


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: Steps of the optimiser.
        batch: Examples in each.
        learning_rate: At the beginning; it falls to zero along a line after warming up.
        warmup: Share of the steps in which it rises.
        weight_decay: Of AdamW.
        evaluate_every: Steps from one look at the validation part, and one checkpoint, to the next.
        patience: Looks without an improvement after which to stop; 0 never stops early.
        seed: Seed of the first weights and of the order of examples.
        threads: Processors to use; the weights depend on it in their last bits.
    """

    steps: int = 300
    batch: int = 2
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    evaluate_every: int = 30
    patience: int = 4
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, low, high in (
            ("steps", 1, 10**6),
            ("batch", 1, 1024),
            ("evaluate_every", 1, 10**6),
            ("patience", 0, 10**6),
            ("seed", 0, 2**32 - 1),
            ("threads", 1, MOST_THREADS),
        ):
            if not low <= getattr(self, name) <= high:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} must be {low} to {high}, is {getattr(self, name)}")
        if not 0 < self.learning_rate <= 1:
            raise UsageError(f"--learning-rate must be above 0 and at most 1, is {self.learning_rate:g}")


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        net: The network, with the weights of the best look at the validation part.
        steps: Steps taken, fewer than wanted where it stopped early.
        best_step: The step whose weights it has.
        history: Step, training loss, validation loss and accuracy at each look.
    """

    net: Library
    steps: int
    best_step: int
    history: tuple[dict[str, float], ...]


class _Part:
    """Examples of one part, one at a time, as `Trainer` asks for them."""

    def __init__(self, examples: Examples, rows: NDArray[np.bool_]) -> None:
        self._examples = examples
        self._rows = np.flatnonzero(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        return {
            "input_values": self._examples.inputs.take(self._rows[[index]])[0],
            "labels": int(self._examples.labels[row]),
        }


def train(
    examples: Examples,
    parts: Parts,
    start: Shape | Checked,
    schedule: Schedule,
    folder: Path,
    *,
    resume: bool = False,
    show: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train on one part of the examples, watching another.

    Args:
        examples: Labelled windows.
        parts: Which of them are for what.
        start: A shape for random weights, or a folder with weights; its head is replaced by one for these classes.
        schedule: How long and how fast.
        folder: Where checkpoints and logs go; the caller's to clean.
        resume: Go on from the newest checkpoint there, if there is one.
        show: Called with the steps done and their number.

    Raises:
        UsageError: The extra `ast` is missing.
        InputError: The start does not fit the spectrograms, or a checkpoint is damaged.
    """
    require_training()
    with alone(schedule.threads, schedule.seed):
        transformers = load_transformers()
        net = new_net(start, examples.classes) if isinstance(start, Shape) else load_net(start, examples.classes)
        trainer = _trainer(
            transformers, net, (_Part(examples, parts.train), _Part(examples, parts.valid)), schedule, folder
        )
        trainer.add_callback(_watcher(transformers, show))
        newest = newest_checkpoint(folder) if resume else None
        try:
            trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        except _CheckpointError as error:
            raise InputError(f"{newest}: {error}; begin again without --resume") from error
        finally:
            trainer.logs.close()
        best = trainer.state.best_model_checkpoint
        return Trained(
            net.eval(),
            int(trainer.state.global_step),
            int(_CHECKPOINT.fullmatch(Path(best).name)[1]) if best else int(trainer.state.global_step),  # type: ignore[index]  # Trainer names them so
            _history(trainer.state.log_history),
        )


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint to go on from; one that was cut off while being written has no state and is left out."""
    found = [
        (int(match[1]), path)
        for path in (folder / CHECKPOINTS).glob("checkpoint-*")
        if (match := _CHECKPOINT.fullmatch(path.name))
        and (path / "trainer_state.json").is_file()
        and (path / WEIGHTS).is_file()
    ]
    return max(found)[1] if found else None


def clean(folder: Path) -> None:
    """Remove checkpoints: a run that has ended has no use for them."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


class _CheckpointError(Exception):
    """A checkpoint that is not of the network that is being trained."""


def _trainer(transformers: Library, net: Library, parts: tuple[_Part, _Part], schedule: Schedule, folder: Path) -> Any:
    torch = importlib.import_module("torch")
    board = importlib.import_module("torch.utils.tensorboard")
    integrations = importlib.import_module("transformers.integrations")
    every = min(schedule.evaluate_every, schedule.steps)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.batch,
        per_device_eval_batch_size=_EVAL_BATCH,
        learning_rate=schedule.learning_rate,
        warmup_steps=round(schedule.warmup * schedule.steps),
        weight_decay=schedule.weight_decay,
        lr_scheduler_type="linear",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=every,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,
        seed=schedule.seed,
        data_seed=schedule.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        log_level="error",
        report_to=[],
        push_to_hub=False,
    )
    trainer = _strict(transformers)(
        model=net, args=arguments, train_dataset=parts[0], eval_dataset=parts[1], compute_metrics=_accuracy
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.logs = board.SummaryWriter(log_dir=str(folder / LOGS))
    trainer.add_callback(integrations.TensorBoardCallback(trainer.logs))
    if schedule.patience:
        trainer.add_callback(transformers.EarlyStoppingCallback(early_stopping_patience=schedule.patience))
    return trainer


def _strict(transformers: Library) -> Any:
    """`Trainer`, but for two habits of it that would lose weights without a word.

    It saves checkpoints with the names that weights of old had, reads them back by today's, and only warns about what
    it did not find: a resumed run would begin anew, and the best weights would be the last.
    """

    class Strict(transformers.Trainer):  # type: ignore[misc]  # its types may not be there
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            place = Path(output_dir or self.args.output_dir)
            place.mkdir(parents=True, exist_ok=True)
            self.model.save_pretrained(place, state_dict=state_dict, save_original_format=False)

        def _issue_warnings_after_load(self, load_result: Any) -> None:
            astray = [*load_result.missing_keys, *load_result.unexpected_keys]
            if astray:
                raise _CheckpointError(f"{astray[0]} is not what the network has")

    return Strict


def _watcher(transformers: Library, show: Callable[[int, int], None] | None) -> Any:
    class Watcher(transformers.TrainerCallback):  # type: ignore[misc]  # its types may not be there
        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:  # noqa: ARG002 - Trainer's
            # Trainer forgets the best checkpoint if the folder has been moved, or is named from another one.
            best = Path(args.output_dir) / f"checkpoint-{state.best_global_step or 0}"
            if best.is_dir():
                state.best_model_checkpoint = str(best)

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:  # noqa: ARG002 - Trainer's
            if show is not None:
                show(int(state.global_step), int(state.max_steps))

    return Watcher()


def _accuracy(answers: Any) -> dict[str, float]:
    guesses = np.asarray(answers.predictions).argmax(axis=1)
    return {"accuracy": float((guesses == np.asarray(answers.label_ids)).mean())}


def _history(log: list[dict[str, float]]) -> tuple[dict[str, float], ...]:
    """What was logged, a row for each look; how long it took is left out, since it never repeats."""
    rows: dict[int, dict[str, float]] = {}
    names = {"loss": "training_loss", "eval_loss": "validation_loss", "eval_accuracy": "validation_accuracy"}
    for entry in log:
        row = rows.setdefault(int(entry["step"]), {"step": int(entry["step"])})
        row.update({ours: round(float(entry[theirs]), 6) for theirs, ours in names.items() if theirs in entry})
    return tuple(row for row in rows.values() if len(row) > 1)
