"""Outputs in JSON: any path can stand in them, and one that a killed run left stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sjft.errors import InputError
from sjft_tools.json_file import write_json


def test_names_that_are_not_utf8_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    content = {"of": os.fsdecode(b"\xff\xe4.mdb"), "name": "Gänse"}
    assert write_json(str(path), content, force=False)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert "Gänse" in path.read_text(encoding="utf-8")


def test_what_a_killed_run_left(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(str(path), {"a": 1}, force=False)
    when = path.stat().st_mtime_ns
    (tmp_path / ".x.json.lock").touch()
    assert not write_json(str(path), {"a": 1}, force=False, left=[str(path)])
    assert path.stat().st_mtime_ns == when
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(InputError, match="exists: give --force"):
        write_json(str(path), {"a": 2}, force=False, left=[str(path)])
    assert write_json(str(path), {"a": 2}, force=True, left=[str(path)])
    assert json.loads(path.read_text()) == {"a": 2}
