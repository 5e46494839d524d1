"""Checks of the machine: the caffe command, its Python layers, the layers of sjft, pycaffe."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from sjft import __version__
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.checks import probe_layer
from sjft_tools.checks.report import CheckFailed, Report
from sjft_tools.json_file import read_json

_SOURCE_ENV = (
    "run '. ./env.sh' in the checkout first (after 'make caffe'), or put the folder of your own "
    "caffe command on PATH"
)
_PROBE_NET = """
name: "sjft_check"
layer {
  name: "probe" type: "Python" top: "probe"
  python_param { module: "sjft_probe_layer" layer: "ProbeLayer" }
}
"""


def find_caffe() -> tuple[str, str]:
    """Return the path of the command ``caffe``, twice: the result and the detail."""
    path = shutil.which("caffe")
    if path is None:
        raise CheckFailed("there is no command 'caffe' on PATH", _SOURCE_ENV)
    return path, path


def caffe_version(caffe: str) -> tuple[str, str]:
    """Return the version that the command says."""
    status, output = run_process([caffe, "--version"])
    if status != 0 or "version" not in output:
        raise CheckFailed(
            f"'{caffe} --version' failed: {reason(status, output)}",
            "a library that it was built with is missing or has changed: build Caffe again ('make "
            "caffe'), or put the library's folder on LD_LIBRARY_PATH",
        )
    version = output.split("version", 1)[1].split()[0]
    return version, version


def python_layers(caffe: str) -> tuple[dict[str, Any], str]:
    """Run a net with a Python layer; return what the interpreter inside `caffe` found."""
    with tempfile.TemporaryDirectory(prefix="sjft-check-") as folder:
        net = Path(folder, "net.prototxt")
        net.write_text(_PROBE_NET, encoding="utf-8")
        shutil.copy(probe_layer.__file__, Path(folder, "sjft_probe_layer.py"))
        findings = Path(folder, "findings.json")
        status, output = run_process(
            [caffe, "time", "-model", str(net), "-iterations", "1"],
            PYTHONPATH=os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]).rstrip(":"),
            **{probe_layer.FINDINGS_VARIABLE: str(findings)},
        )
        if "Unknown layer type: Python" in output:
            raise CheckFailed(
                f"{caffe} was built without Python layers",
                "build it with WITH_PYTHON_LAYER := 1 (make), -DBUILD_python_layer=ON (cmake), or "
                "let 'make caffe' build one",
            )
        if not findings.exists():
            raise CheckFailed(
                f"a net with one Python layer does not run: {reason(status, output)}",
                "make this Caffe run 'caffe time -model NET' on any net first",
            )
        found: dict[str, Any] = read_json(findings)
    found["failure"] = None if status == 0 else reason(status, output)
    numpy = found["numpy"].get("version", "none")
    return found, f"Python {found['python']['version']} inside caffe, numpy {numpy}"


def pycaffe_inside(found: dict[str, Any]) -> tuple[None, str]:
    """Pycaffe and the layer itself work inside ``caffe``."""
    error = found["caffe"].get("error")
    if error is not None:
        raise CheckFailed(
            f"the interpreter inside caffe cannot import pycaffe ({error})",
            "put its folder and the packages that it needs on PYTHONPATH, as '. ./env.sh' does; "
            f"all of them for Python {found['python']['version']}",
        )
    if found["failure"] is not None:
        raise CheckFailed(
            f"a Python layer is found but does not run: {found['failure']}",
            "build pycaffe and caffe from the same sources, for the same Python and numpy",
        )
    return None, str(found["caffe"]["file"])


def sjft_layers(found: dict[str, Any]) -> tuple[None, str]:
    """``sjft.layers`` imports inside ``caffe`` and is of this command's version."""
    error = found["sjft.layers"].get("error")
    if error is not None:
        raise CheckFailed(
            f"the interpreter inside caffe cannot import sjft.layers ({error})",
            "put python_layers/ and the packages that it needs (numpy, protobuf, cv2, lmdb) on "
            "PYTHONPATH, as '. ./env.sh' does; all of them for Python "
            f"{found['python']['version']}",
        )
    version = found["sjft"]["version"]
    if version != __version__:
        raise CheckFailed(
            f"caffe imports sjft {version} from {found['sjft']['file']}, but this command is of "
            f"version {__version__}",
            "remove the old python_layers folder from PYTHONPATH",
        )
    return None, str(found["sjft.layers"]["file"])


def pycaffe() -> tuple[bool, str]:
    """Pycaffe imports in this command's Python."""
    script = "import caffe; print(caffe.__file__, 'Python' in caffe.layer_type_list())"
    status, output = run_process([sys.executable, "-c", script])
    if status != 0:
        raise CheckFailed(
            f"'import caffe' fails in {sys.executable}: {reason(status, output)}",
            "put the folder of the Python package caffe on PYTHONPATH, as '. ./env.sh' does; it "
            "and what it imports must be built for this Python and numpy",
        )
    path, layers = output.splitlines()[-1].rsplit(" ", 1)
    if layers != "True":
        raise CheckFailed(
            f"{path} was built without Python layers",
            "use the pycaffe that belongs to the caffe command",
        )
    return True, path


def check_environment(report: Report) -> bool:
    """Make all checks of the machine; return whether pycaffe can be imported."""
    caffe = report.check("caffe command", find_caffe, "")
    if caffe is None:
        for name in ("Caffe's version", "Python layers", "sjft.layers"):
            report.skip(name, "needs the caffe command")
    else:
        report.check("Caffe's version", lambda: caffe_version(caffe), "")
        found = report.check("Python layers", lambda: python_layers(caffe), "")
        if found is None:
            report.skip("sjft.layers", "needs Python layers")
        else:
            report.check("pycaffe inside caffe", lambda: pycaffe_inside(found), "")
            report.check("sjft.layers", lambda: sjft_layers(found), "")
    return bool(report.check("pycaffe", pycaffe, ""))
