"""Results of a step that is made anew: there until the new ones are complete, kills or not."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval_runs import Forker, forker
from sjft_tools.experiment.step import Step
from sjft_tools.experiment.steps import StepFailed, Steps
from step_runs import run_all

# In the folder of two outputs a, b and the emptied folder c with the output x; what is begun is
# gone on with: lines of progress in c/progress. The third word tells whether it fails before b.
SCRIPT = """
echo ran >> log
echo "$0" >> c/progress
test -e c/x || { mkdir a; echo "$0" > a/y; cp a/y c/x; }
test ! -e fails || exit 3
echo "$0" > b
"""

RUN_STEP = """
import os
from pathlib import Path
from sjft_tools import cli
from sjft_tools.experiment.step import Step
from sjft_tools.experiment.steps import Steps

def run_step(argv):
    words = ["sh", "-c", argv[1], argv[0]]
    folder = os.getcwd()
    outputs = [os.path.join(folder, name) for name in ("a", "b", "c/x")]
    emptied = [os.path.join(folder, "c")]
    step = Step("1", words, [], outputs, emptied=emptied, goes_on=True)
    Steps(folder, os.open(folder, os.O_RDONLY)).run(step)

cli.main = run_step
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    with forker(tmp_path_factory.mktemp("log") / "log", RUN_STEP) as made:
        yield made


def results(folder: Path) -> dict[str, str]:
    """What lies in place, and what vouches for it."""
    files = [folder / name for name in ("a/y", "b", "c/x", "steps/1.done.json")]
    found = {file.name: file.read_text().strip() for file in files if file.exists()}
    if "1.done.json" in found:
        found["1.done.json"] = json.loads(found["1.done.json"])["command"][-1]
    return found


def complete(word: str) -> dict[str, str]:
    return dict.fromkeys(("y", "b", "x", "1.done.json"), word)


def lines(folder: Path, name: str) -> int:
    return len((folder / name).read_text().splitlines())


def nothing_is_left(folder: Path) -> bool:
    return [path.name for path in (folder / "steps").glob("[!.]*")] == ["1.done.json"]


def test_a_failure_leaves_them_and_the_next_attempt_goes_on(runs: Forker, tmp_path: Path) -> None:
    assert runs.run(tmp_path, "old", SCRIPT) == 0, runs.text()
    assert results(tmp_path) == complete("old") and nothing_is_left(tmp_path)
    (tmp_path / "fails").touch()
    for attempt in (1, 2):
        assert runs.run(tmp_path, "new", SCRIPT) == 1
        assert "StepFailed: the step 'sh" in runs.text() and "gave status 3" in runs.text()
        assert ("begins anew, since its command was" in runs.text()) == (attempt == 1)
        assert results(tmp_path) == complete("old")
        assert lines(tmp_path, "c/progress") == 1  # the old one's
    (tmp_path / "fails").unlink()
    assert runs.run(tmp_path, "new", SCRIPT) == 0, runs.text()
    assert results(tmp_path) == complete("new") and nothing_is_left(tmp_path)
    assert lines(tmp_path, "c/progress") == 3


def test_after_a_failure_the_earlier_experiment_is_done(runs: Forker, tmp_path: Path) -> None:
    assert runs.run(tmp_path, "old", SCRIPT) == 0, runs.text()
    (tmp_path / "fails").touch()
    assert runs.run(tmp_path, "new", SCRIPT) == 1
    ran = lines(tmp_path, "log")
    assert runs.run(tmp_path, "old", SCRIPT) == 0
    assert runs.text().startswith("done ") and nothing_is_left(tmp_path)
    assert results(tmp_path) == complete("old")
    # a third one in its place finds nothing of the second
    assert runs.run(tmp_path, "new", SCRIPT) == 1
    assert runs.run(tmp_path, "third", SCRIPT) == 1
    (tmp_path / "fails").unlink()
    assert runs.run(tmp_path, "third", SCRIPT) == 0
    assert results(tmp_path) == complete("third") and nothing_is_left(tmp_path)
    assert lines(tmp_path, "c/progress") == 2
    assert lines(tmp_path, "log") == ran + 3


@pytest.mark.parametrize(
    ("after", "fails"), [("new", True), ("old", False), ("old", True), ("third", False)]
)
def test_killed_before_every_file_operation(
    runs: Forker, tmp_path: Path, after: str, fails: bool
) -> None:
    """In the midst of `new`, which may have failed before: any one goes on from there."""
    kills = restored = 0
    for at in range(1, 1000):
        folder = tmp_path / str(at)
        folder.mkdir()
        assert runs.run(folder, "old", SCRIPT) == 0, runs.text()
        if fails:
            (folder / "fails").touch()
            assert runs.run(folder, "new", SCRIPT) == 1
        status = runs.run(folder, "new", SCRIPT, kill_at=at)
        if status != -signal.SIGKILL:
            assert status == int(fails)
            break
        kills += 1
        (folder / "fails").unlink(missing_ok=True)
        ran = lines(folder, "log")
        assert runs.run(folder, after, SCRIPT) == 0, runs.text()
        assert results(folder) == complete(after)
        assert nothing_is_left(folder)
        if after == "old" and lines(folder, "log") == ran:
            assert runs.text().startswith("done ")
            restored += 1
    assert kills > 25
    if after == "old":  # but for kills behind the new one's end
        assert restored == kills if fails else restored > 15


def test_a_dry_run_knows_what_a_kill_left_aside(runs: Forker, tmp_path: Path) -> None:
    def step(word: str) -> Step:
        outputs = [str(tmp_path / name) for name in ("a", "b", "c/x")]
        emptied = [str(tmp_path / "c")]
        return Step("1", ["sh", "-c", SCRIPT, word], [], outputs, emptied=emptied, goes_on=True)

    assert runs.run(tmp_path, "old", SCRIPT) == 0
    killer = SCRIPT.replace("test ! -e fails", "test ! -e fails || { kill -9 $PPID; exit; }")
    (tmp_path / "fails").touch()
    assert runs.run(tmp_path, "new", killer) == -signal.SIGKILL
    assert results(tmp_path) == {"y": "new", "x": "new"}
    before = sorted(tmp_path.rglob("*"))
    steps = Steps(str(tmp_path), lock=-1)
    assert steps.is_done(step("old")) and not steps.is_done(step("new"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refusal_leaves_them(tmp_path: Path) -> None:
    """As when there is no room for new ones."""
    out = tmp_path / "out"

    def step(word: str) -> Step:
        return Step("1", ["sh", "-c", 'echo "$1" > "$0"', str(out), word], [], [str(out)])

    def refuse(step: Step, spent: float) -> None:
        assert not out.exists()
        raise StepFailed("no room")

    run_all(tmp_path, step("old"))
    with pytest.raises(StepFailed, match="no room"):
        Steps(str(tmp_path), lock=-1, before=refuse).run(step("new"))
    assert out.read_text() == "old\n"
    run_all(tmp_path, step("new"))
    assert out.read_text() == "new\n"
