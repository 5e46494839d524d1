"""A layer that holds a training run up in mid-iteration for as long as a test wants.

It waits while the current folder has the file ``hold``.
"""

from __future__ import annotations

import os
import time

import caffe


def _wait() -> None:
    while os.path.exists("hold"):
        time.sleep(0.01)


class HoldLayer(caffe.Layer):
    """Waits in each pass after the first `param_str`; if that is -1, while it is set up, too."""

    def setup(self, bottom: list, top: list) -> None:
        self._left = int(self.param_str)
        if self._left < 0:
            _wait()

    def reshape(self, bottom: list, top: list) -> None:
        top[0].reshape(1)

    def forward(self, bottom: list, top: list) -> None:
        self._left -= 1
        if self._left < 0:
            _wait()

    def backward(self, top: list, propagate_down: list, bottom: list) -> None:
        pass
