"""A Python layer that notes what the interpreter inside ``caffe`` can import.

``sjft check`` runs a copy of this file in a net of one layer. Importing it writes the findings, as
JSON, to the file named in SJFT_PROBE: even where pycaffe, and with it the layer, cannot be had.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
from typing import Any

FINDINGS_VARIABLE = "SJFT_PROBE"
MODULES = ("numpy", "caffe", "sjft", "sjft.layers")


def _look_at(name: str) -> dict[str, str]:
    """Return file and version of the module `name`, or under "error" why it cannot be imported."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".strip().splitlines()[0]}
    return {"file": str(module.__file__), "version": str(getattr(module, "__version__", ""))}


def _write_findings(path: str) -> None:
    findings: dict[str, Any] = {name: _look_at(name) for name in MODULES}
    findings["python"] = {"version": platform.python_version()}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(findings, stream)


if FINDINGS_VARIABLE in os.environ:
    _write_findings(os.environ[FINDINGS_VARIABLE])

    import caffe

    class ProbeLayer(caffe.Layer):
        """The smallest layer: one top of one number."""

        def setup(self, bottom: Any, top: Any) -> None:
            """Nothing to prepare."""

        def reshape(self, bottom: Any, top: Any) -> None:
            """Give the top its shape."""
            top[0].reshape(1)

        def forward(self, bottom: Any, top: Any) -> None:
            """Nothing to compute."""

        def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
            """Nothing to propagate."""
