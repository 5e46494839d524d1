"""What ``sjft report`` refuses: runs whose files are lost, spoilt or changed, and other folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import REPO, run_sjft
from sjft.errors import InputError
from sjft_tools.experiment.run_folder import claim_run_folder
from sjft_tools.experiment.runner import write_report


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("source_lmdb", "source LMDB"),
        ("round_2/selection.json", "selection.json cannot be read (No such file or directory): "),
        ("round_3/test_details/per_class.csv", "per_class.csv cannot be read"),
        ("round_3/test_details/confusion.png", "the picture "),
    ],
)
def test_what_is_lost_is_named(undisturbed: tuple[Path, str], name: str, words: str) -> None:
    folder, _ = undisturbed
    lost, aside = folder / name, folder / "aside"
    before = (folder / "report.html").read_bytes()
    lost.rename(aside)
    try:
        output = run_sjft("report", folder, cwd=REPO, status=2)
    finally:
        aside.rename(lost)
    assert words in output
    assert str(lost) in output
    assert "Traceback" not in output
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("round_2/moves.json", b"{}"),
        ("round_1/selection.json", b""),
        ("round_3/test.json", b"\xff"),
        ("round_3/test_details/per_class.csv", b"label,name\n0,a\n"),
        ("round_3/test_details/per_class.csv", b"\xff"),
        ("steps/curves.done.json", b"{}"),
        ("summary.json", b"{"),
        ("summary.json", b'{"rounds": 3}'),
    ],
)
def test_what_is_spoilt_is_named(
    undisturbed: tuple[Path, str], name: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = undisturbed
    monkeypatch.chdir(REPO)
    spoilt = folder / name
    before = spoilt.read_bytes()
    spoilt.write_bytes(content)
    try:
        with pytest.raises(InputError, match=f"^{spoilt} is (not what the run has made|damaged): "):
            write_report(str(folder))
    finally:
        spoilt.write_bytes(before)


def test_what_is_no_finished_run(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    """One sentence, without anything of Python's."""
    file, empty, begun = tmp_path / "file", tmp_path / "empty", tmp_path / "begun"
    file.touch()
    empty.mkdir()
    begun.mkdir()
    claim_run_folder(str(begun), "digits")
    none = "holds no finished run of 'sjft run', which would have made steps/run.json in it: exp"
    for path, message in (
        (tmp_path / "nowhere", "does not exist: expected the run folder of a finished 'sjft run'"),
        (file, "is not a folder: expected the run folder of a finished 'sjft run'"),
        (empty, none),
        (REPO / "docs", none),
        (begun, "holds no finished run of 'sjft run', only one that has begun: give the same 's"),
    ):
        output = run_sjft("report", path, cwd=tmp_path, status=2)
        assert f"{path.name} {message}" in output
        assert "Errno" not in output and "Traceback" not in output


def test_a_run_whose_experiment_was_changed(
    undisturbed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its report would mix the old results with the new settings."""
    folder, _ = undisturbed
    monkeypatch.chdir(REPO)
    copy = folder / "experiment.yaml"
    before = copy.read_text()
    assert "k0: 20" in before
    copy.write_text(before.replace("k0: 20", "k0: 30"))
    try:
        with pytest.raises(InputError, match="the step round_1_adapt is not done as its exp"):
            write_report(str(folder))
        copy.write_text(before.replace("88.1", "88.7"))  # a figure to be shown beside
        assert "88.7" in Path(write_report(str(folder))).read_text()
    finally:
        copy.write_text(before)
        write_report(str(folder))
