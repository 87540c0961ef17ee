"""What a board says about itself in answer to MLHELLO."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from stinger.errors import InputError, LinkError
from stinger.link.frames import MAX_BODY, PROTOCOL
from stinger.models.policy_settings import LIMITS, Policy

_MAX_NAME = 64
_MAX_CLASSES = 64
_MAX_U32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model a board runs.

    Attributes:
        name: Identifier given at training.
        family: ``logreg``, ``mlp``, ``rf``, ...
        hash: Names the exported integers.
        feature_set: Name of the integer feature set.
        window: Samples per window.
        channels: Values per sample.
        period_us: Sample period in microseconds.
        classes: Class names; a label is an index into them.
        policy: How its probabilities become on and off; None if they do not.
    """

    name: str
    family: str
    hash: str
    feature_set: str
    window: int
    channels: int
    period_us: int
    classes: tuple[str, ...]
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """The images a board keeps in flash. Places are ``slot0``, ``slot1`` or ``builtin``, the firmware's own model.

    Attributes:
        running: Where the model lies that it runs.
        active: Where the model lies that it runs after a restart, if it can.
        previous: Where a rollback leads; None if nowhere.
        generation: How many images had been stored when the active one was; 0 for ``builtin``.
        slot_bytes: Size of the largest image.
        damaged: The image that had been active was found changed at start.
    """

    running: str
    active: str
    previous: str | None
    generation: int
    slot_bytes: int
    damaged: bool


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """A board and what it can do.

    Attributes:
        firmware: Version of its firmware.
        board: Which board it is.
        clock_hz: Clock that its cycle counts are in; 0 when it has none.
        model: The model it runs.
        replay_in_flight: Samples it takes before they are answered.
        max_body: Longest frame body it takes, in bytes.
        store: The models in its flash; None if it takes none.
    """

    firmware: str
    board: str
    clock_hz: int
    model: ModelInfo
    replay_in_flight: int
    max_body: int
    store: StoreInfo | None = None

    def cycles_to_us(self, cycles: int) -> float:
        """Microseconds that so many cycles take; not a number when the board has no clock."""
        return cycles * 1e6 / self.clock_hz if self.clock_hz else float("nan")


def parse_hello(text: str) -> BoardInfo:
    """Read the JSON text of a board's answer. Unknown keys are ignored: newer firmware may say more.

    Raises:
        LinkError: It is not such an answer, or of another protocol version.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LinkError(f"the board's answer to MLHELLO is not JSON ({error}); flash it again") from error
    fields = _Fields("", answer)
    if (protocol := fields.integer("protocol", 1, _MAX_U32)) != PROTOCOL:
        raise LinkError(
            f"the board speaks protocol {protocol}, this program {PROTOCOL}; update the older one of the two"
        )
    model, limits = fields.section("model"), fields.section("limits")
    return BoardInfo(
        firmware=fields.name("firmware"),
        board=fields.name("board"),
        clock_hz=fields.integer("clock_hz", 0, _MAX_U32),
        model=ModelInfo(
            name=model.name("name"),
            family=model.name("family"),
            hash=model.name("hash"),
            feature_set=model.name("feature_set"),
            window=model.integer("window", 2, 1024),
            channels=model.integer("channels", 1, 64),
            period_us=model.integer("period_us", 1, _MAX_U32),
            classes=model.names("classes"),
            policy=_policy(model),
        ),
        replay_in_flight=limits.integer("replay_in_flight", 1, 1024),
        max_body=limits.integer("max_body", 64, MAX_BODY),
        store=_store(fields),
    )


def _store(fields: _Fields) -> StoreInfo | None:
    if not fields.has("store"):
        return None
    store = fields.section("store")
    return StoreInfo(
        running=store.name("running"),
        active=store.name("active"),
        previous=store.name("previous") if store.has("previous", but_null=True) else None,
        generation=store.integer("generation", 0, _MAX_U32),
        slot_bytes=store.integer("slot_bytes", 1, _MAX_U32),
        damaged=store.truth("damaged"),
    )


def _policy(model: _Fields) -> Policy | None:
    if not model.has("policy"):
        return None
    policy = model.section("policy")
    of_model = {name: model.integer(name, *LIMITS[name]) for name in ("window", "period_us")}
    own = {name: policy.integer(name, *limits) for name, limits in LIMITS.items() if name not in of_model}
    try:
        return Policy(**of_model, **own)
    except InputError as error:
        raise LinkError(f"the board's answer to MLHELLO makes no sense: {error}; flash it again") from error


class _Fields:
    """Fields of a JSON object from an untrusted sender, each checked as it is taken."""

    def __init__(self, path: str, value: object) -> None:
        self._path = path
        if not isinstance(value, Mapping):
            raise self._error(path or "it", "an object")
        self._values = value

    def has(self, key: str, *, but_null: bool = False) -> bool:
        return key in self._values and not (but_null and self._values[key] is None)

    def truth(self, key: str) -> bool:
        value = self._values.get(key)
        if not isinstance(value, bool):
            raise self._error(self._path + key, "true or false")
        return value

    def section(self, key: str) -> _Fields:
        return _Fields(f"{self._path}{key}.", self._values.get(key))

    def integer(self, key: str, low: int, high: int) -> int:
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._error(self._path + key, f"an integer from {low} to {high}")
        return value

    def name(self, key: str) -> str:
        return self._check_name(key, self._values.get(key))

    def names(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key)
        if not isinstance(value, list) or not 2 <= len(value) <= _MAX_CLASSES:
            raise self._error(self._path + key, f"a list of 2 to {_MAX_CLASSES} names")
        return tuple(self._check_name(key, item) for item in value)

    def _check_name(self, key: str, value: object) -> str:
        # Printable: names end up on terminals, where control characters would be commands.
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or not value.isprintable():
            raise self._error(self._path + key, f"a printable name of at most {_MAX_NAME} characters")
        return value

    @staticmethod
    def _error(what: str, expected: str) -> LinkError:
        return LinkError(f"the board's answer to MLHELLO makes no sense: {what} is not {expected}; flash it again")
