"""``--only-skip``, by which CI fails where tests are skipped that it should be able to run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conftest import REPO
from processes import run

SKIPPING = """
import pytest

def test_it_can_run():
    assert True

def test_on_a_gpu():
    pytest.skip("needs a GPU")

def test_on_a_whim():
    pytest.skip("needs nothing")

@pytest.mark.skipif(True, reason="for ever")
def test_never():
    pass

@pytest.mark.xfail
def test_of_a_known_fault():
    assert False
"""


def summary(folder: Path, *options: str, status: int) -> str:
    """Run the tests of a folder with this one's conftest; return pytest's closing line."""
    path = os.pathsep.join([str(REPO / "tests"), os.environ.get("PYTHONPATH", "")])
    command = (sys.executable, "-m", "pytest", "-p", "conftest", "--rootdir", folder, folder)
    variables = {"PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    return run(*command, *options, cwd=folder, status=status, **variables).splitlines()[-1]


def test_only_the_reasons_given_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    assert "1 passed, 3 skipped, 1 xfailed" in summary(tmp_path, status=0)
    found = summary(tmp_path, "--only-skip", "a GPU", status=1)
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error" in found
    found = summary(tmp_path, "--only-skip", "a GPU", "--only-skip", "for ever", status=1)
    assert "1 failed, 1 passed, 2 skipped, 1 xfailed" in found
