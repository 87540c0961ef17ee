"""Generated recordings under one's fingers: sliders for what is generated, pictures of what comes out.

With ipywidgets the sliders are live; without, the pictures are shown as they are, and settings are changed in code.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stinger.errors import StingerError, UsageError
from stinger.plots.field import field_png
from stinger.sessions.session import Session
from stinger.synth.imperfections import Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.patterns import DISTORTIONS, PATTERNS, pattern_plan
from stinger.windows.regular import RegularWindows
from stinger.workflow.data_quality import Finding, data_quality, quality_markdown
from stinger.workflow.spectrogram import SpectrogramOptions, draw_windows

#: So near each other that no label is missed.
_WINDOWS = RegularWindows(window_s=3.0, step_s=0.5)
_RATES_HZ = (25.0, 50.0, 100.0, 140.0, 200.0, 400.0)


@dataclass(frozen=True)
class FieldSettings:
    """What is generated.

    Attributes:
        level: none, low, high, or mixed.
        pattern: How the device is turned: simple, complex or stationary.
        rate_hz: Samples per second.
        noise: Factor of everything that is wrong with the sensors; 0 makes them perfect.
        duration_s: How long.
        seed: Of the plan, the device and its noise.
    """

    level: str = "mixed"
    pattern: str = "complex"
    rate_hz: float = 100.0
    noise: float = 1.0
    duration_s: float = 60.0
    seed: int = 1

    def generate(self) -> Session:
        """Generate the recording, as `stinger magnetic generate` does.

        Raises:
            UsageError: Something is unknown or impossible.
        """
        plan = pattern_plan(self.pattern, self.level, self.duration_s, self.rate_hz, streams(self.seed)[0])
        name = f"{self.pattern}, {self.level}, {self.rate_hz:g} Hz, noise × {self.noise:g}, seed {self.seed}"
        return generate(plan, Imperfections().scaled(self.noise), name=name, seed=self.seed).session


class FieldExplorer:
    """A recording and its settings, which sliders or `change` change.

    Attributes:
        settings: What is generated now.
        session: The recording.
        findings: What is to say about its quality.
        controls: The sliders by the name of their setting; empty without ipywidgets.
    """

    def __init__(self, settings: FieldSettings | None = None) -> None:
        self.settings = settings or FieldSettings()
        self.session: Session = self.settings.generate()
        self.findings: list[Finding] = data_quality(self.session)
        self.controls: dict[str, Any] = {}
        self._box: Any = None
        self._views: dict[str, Any] = {}

    def change(self, **settings: Any) -> FieldExplorer:
        """Generate another recording; sliders follow.

        Raises:
            UsageError: A setting is unknown or impossible; everything stays as it was.
        """
        unknown = sorted(set(settings) - set(asdict(self.settings)))
        if unknown:
            raise UsageError(f"no setting {unknown[0]!r}; there are {', '.join(asdict(self.settings))}")
        wanted = replace(self.settings, **settings)
        session = wanted.generate()
        self.settings, self.session, self.findings = wanted, session, data_quality(session)
        for name, control in self.controls.items():
            # Those that stand there already say nothing.
            control.value = getattr(wanted, name)
        self._show()
        return self

    def field_picture(self) -> bytes:
        """Draw the recording as PNG."""
        return field_png(self.session)

    def sound_picture(self) -> bytes:
        """Draw a window of each label, and the spectrogram that a model of sounds gets of it, as PNG."""
        with tempfile.TemporaryDirectory(prefix="stinger-explorer-") as folder:
            path = Path(folder) / "windows.png"
            draw_windows(self.session, path, SpectrogramOptions(windows=_WINDOWS))
            return path.read_bytes()

    def table(self) -> str:
        """Say in markdown what there is to say about its quality."""
        return quality_markdown(self.findings)

    def widget(self) -> Any:
        """Return sliders and pictures as one widget.

        Raises:
            UsageError: There is no ipywidgets.
        """
        if self._box is None:
            self._box = self._build()
            self._show()
        return self._box

    def _ipython_display_(self) -> None:
        """Be shown by a notebook."""
        display = importlib.import_module("IPython.display")
        if importlib.util.find_spec("ipywidgets") is not None:
            display.display(self.widget())
            return
        display.display(display.Image(self.field_picture()), display.Image(self.sound_picture()))
        display.display(display.Markdown(self.table()))

    def _build(self) -> Any:
        try:
            widgets = importlib.import_module("ipywidgets")
        except ImportError as error:
            raise UsageError('sliders need ipywidgets; run: pip install "stinger-ml[notebooks]"') from error
        now = self.settings
        rates = sorted({*_RATES_HZ, now.rate_hz})
        late: Any = {"continuous_update": False}  # a recording is generated when the slider is let go
        self.controls = {
            "level": widgets.Dropdown(options=DISTORTIONS, value=now.level, description="level"),
            "pattern": widgets.Dropdown(options=PATTERNS, value=now.pattern, description="pattern"),
            "rate_hz": widgets.SelectionSlider(
                options=[(f"{rate:g} Hz", rate) for rate in rates], value=now.rate_hz, description="rate", **late
            ),
            "noise": widgets.FloatSlider(
                value=now.noise, min=0, max=max(10.0, now.noise), step=0.5, description="noise ×", **late
            ),
            "seed": widgets.IntSlider(value=now.seed, min=0, max=max(20, now.seed), description="seed", **late),
        }
        self._views = {
            "complaint": widgets.HTML(),
            "field": widgets.Image(format="png", layout=widgets.Layout(width="100%")),
            "sound": widgets.Image(format="png", layout=widgets.Layout(width="100%")),
        }
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._moved(name, change["new"]), names="value")
        sliders = list(self.controls.values())
        rows = [widgets.HBox(sliders[:2]), widgets.HBox(sliders[2:])]
        return widgets.VBox([*rows, *self._views.values()])

    def _moved(self, name: str, value: Any) -> None:
        if getattr(self.settings, name) == value:
            return
        try:
            self.change(**{name: value})
        except StingerError as error:
            self._views["complaint"].value = f"<b>{error}</b>"

    def _show(self) -> None:
        if not self._views:
            return
        bad = [f"{finding.what}: {finding.complaint}" for finding in self.findings if not finding.fine]
        self._views["field"].value = self.field_picture()
        try:
            self._views["sound"].value = self.sound_picture()
        except StingerError as error:
            # A recording can be too short to listen to, and still be one.
            self._views["sound"].value = b""
            bad.append(str(error))
        self._views["complaint"].value = "<br>".join(bad)
