"""What the user sees of a run: a progress bar on standard error, and sentences above it."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from tqdm import tqdm

from sjft_tools.command import BAR_INTERVAL_IN_FILES_S, BAR_INTERVAL_S
from sjft_tools.outlet import outlet

_SHOWN_VALUES = 4
_REPETITION_S = 600.0
_NUMBER = re.compile(r"\d[\d.]*")


class _Stderr:
    """Standard error, as long as somebody takes it: training outlives its terminal."""

    def write(self, text: str) -> None:
        encoded = text.encode(sys.stderr.encoding, "backslashreplace")
        outlet(sys.stderr.fileno()).write(encoded)

    def flush(self) -> None:
        pass  # the outlet does

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


class Screen:
    """Shows sentences, each behind `name`, and, once it is opened, the bar."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stderr = _Stderr()
        self._is_terminal = sys.stderr.isatty()
        self._bar: Any = None
        self._ticked = 0.0
        self._shown: dict[str, float] = {}
        self._values = {"loss": "?"}  # first of all

    def say(self, text: str) -> None:
        """Show a sentence."""
        line = f"{self._name}: {text}"
        if self._bar is None:
            self._stderr.write(f"{line}\n")
        else:
            self._bar.write(line, file=self._stderr)

    def say_now_and_then(self, text: str) -> None:
        """Show a sentence unless one that differs only in its numbers was shown a while ago."""
        kind, now = _NUMBER.sub("#", text), time.monotonic()
        if now - self._shown.get(kind, -_REPETITION_S) >= _REPETITION_S:
            self._shown[kind] = now
            self.say(text)

    def open_bar(self, iteration: int, max_iter: int) -> None:
        """Show the bar, which starts at `iteration`."""
        self._bar = tqdm(
            initial=iteration,
            total=max_iter,
            desc="training",
            unit="iteration",
            file=self._stderr,
            mininterval=BAR_INTERVAL_S if self._is_terminal else BAR_INTERVAL_IN_FILES_S,
            maxinterval=BAR_INTERVAL_IN_FILES_S,
            miniters=1,
        )

    def progress(self, iteration: int, loss: float) -> None:
        """Move the bar to `iteration`; `loss` is the last one."""
        self._values["loss"] = f"{loss:.4g}"
        self._show_values()
        self._bar.update(iteration - self._bar.n)

    def note_test(self, name: str, value: str) -> None:
        """Show the last value of a test beside the bar from now on."""
        self._values[name] = value
        self._show_values()

    def _show_values(self) -> None:
        if self._bar is not None:
            values = list(self._values.items())[:_SHOWN_VALUES]
            text = ", ".join(f"{name} {value}" for name, value in values)
            self._bar.set_postfix_str(text, refresh=False)

    def tick(self) -> None:
        """Let the time on the bar go on while nothing else happens."""
        now = time.monotonic()
        if self._bar is not None and self._is_terminal and now - self._ticked >= BAR_INTERVAL_S:
            self._ticked = now
            self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
