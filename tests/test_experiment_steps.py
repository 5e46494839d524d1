"""Steps of an experiment: done once, done again when what they read or made has changed."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import draw_image, write_image_lmdb
from sjft.errors import InputError
from sjft_tools.experiment.fingerprints import MISSING, Fingerprints
from sjft_tools.experiment.run_lock import run_lock
from sjft_tools.experiment.step import Step, other_command, read_markers
from sjft_tools.experiment.steps import StepFailed, Steps
from step_runs import run_all

# A command that adds a line to its log, then copies.
COPY = 'echo ran >> "$0.log" && cat "$@" > "$0"'


def copy(name: str, output: Path, *inputs: Path) -> Step:
    words = ["sh", "-c", COPY, str(output), *map(str, inputs)]
    return Step(name, words, [str(path) for path in inputs], [str(output)])


def runs(output: Path) -> int:
    log = Path(f"{output}.log")
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_change_redoes_exactly_what_depends_on_it(tmp_path: Path) -> None:
    a, b, left, right, both = (tmp_path / name for name in ("a", "b", "left", "right", "both"))
    a.write_text("a")
    b.write_text("b")
    steps = (copy("1", left, a), copy("2", right, b), copy("3", both, left, right))
    counts = {}

    def again() -> None:
        run_all(tmp_path, *steps)
        assert both.read_text() == a.read_text() + b.read_text()
        counts.update({path.name: runs(path) for path in (left, right, both)})

    again()
    again()
    assert counts == {"left": 1, "right": 1, "both": 1}
    b.write_text("other")
    again()
    assert counts == {"left": 1, "right": 2, "both": 2}
    os.utime(a, (1, 1))  # only touched
    again()
    assert counts == {"left": 1, "right": 2, "both": 2}
    left.write_text("spoilt")  # an output that is no longer what was made
    again()
    assert counts == {"left": 2, "right": 2, "both": 2}
    both.unlink()
    again()
    assert counts == {"left": 2, "right": 2, "both": 3}


def test_another_command_begins_without_the_old_ones_work(tmp_path: Path) -> None:
    a, out, work = tmp_path / "a", tmp_path / "out", tmp_path / "work"
    a.write_text("a")
    count = 'mkdir -p "$1" && echo x >> "$1/x" && cat "$1/x" > "$0" && exit $2'

    def step(status: int, name: str = "1") -> Step:
        words = ["sh", "-c", count, str(out), str(work), str(status)]
        return Step(name, words, [str(a)], [str(out)], [str(work)])

    for _ in range(2):  # unfinished work of the same command stays, for it to go on with
        out.unlink(missing_ok=True)
        with pytest.raises(StepFailed, match="gave status 3"):
            run_all(tmp_path, step(3))
    assert (work / "x").read_text() == "x\nx\n"
    run_all(tmp_path, step(0))
    assert out.read_text() == "x\n"


def test_a_kill_between_two_outputs(tmp_path: Path) -> None:
    """The command, which replaces nothing, finds none of them; its unfinished work stays."""
    a, b, kept = tmp_path / "a", tmp_path / "b", tmp_path / "emptied" / "kept"
    make = 'test ! -e "$0" && echo x > "$0" && echo y >> "$2" && test -e "$3" && echo x > "$1"'
    words = ["sh", "-c", make, *map(str, (a, b, kept, tmp_path / "go"))]
    step = Step("1", words, [], [str(a), str(b), str(kept)], emptied=[str(kept.parent)])
    with pytest.raises(StepFailed):
        run_all(tmp_path, step)
    assert a.exists() and not b.exists()
    (tmp_path / "go").touch()
    run_all(tmp_path, step)
    assert b.exists() and kept.read_text() == "y\ny\n"


def test_a_command_that_goes_on_finds_its_first_outputs(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    make = 'echo x >> "$0" && test -e "$2" && echo x > "$1"'
    words = ["sh", "-c", make, *map(str, (a, b, tmp_path / "go"))]
    step = Step("1", words, [], [str(a), str(b)], goes_on=True)
    with pytest.raises(StepFailed):
        run_all(tmp_path, step)
    (tmp_path / "go").touch()
    run_all(tmp_path, step)
    assert a.read_text() == "x\nx\n"


def test_a_command_that_appends_has_to_end(tmp_path: Path) -> None:
    """As training does, which tests once more when its last snapshot lies there."""
    out = tmp_path / "emptied" / "out"
    words = ["sh", "-c", 'echo x >> "$0" && test -e "$1"', str(out), str(tmp_path / "go")]
    step = Step("1", words, [], [str(out)], emptied=[str(out.parent)], appends=True)
    with pytest.raises(StepFailed):
        run_all(tmp_path, step)
    (tmp_path / "go").touch()
    run_all(tmp_path, step)
    run_all(tmp_path, step)
    assert out.read_text() == "x\nx\n"


def test_the_times_of_all_attempts_add_up(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    a.write_text("a")
    step = copy("1", out, a)
    run_all(tmp_path, step)
    markers = tmp_path / "steps"
    begun = json.loads((markers / "1.done.json").read_text())
    del begun["outputs"]
    (markers / "1.begun.json").write_text(json.dumps({**begun, "spent": 20, "since": 1000}))
    os.utime(tmp_path / "logs" / "1.log", (1500, 1500))  # when it was killed
    (markers / "1.done.json").unlink()
    out.unlink()
    seen = []
    with run_lock(str(tmp_path)) as lock:
        steps = Steps(str(tmp_path), lock, before=lambda step, spent: seen.append(spent))
        steps.run(step)
    assert seen == [520]
    assert read_markers(str(tmp_path))["1"]["seconds"] >= 520
    assert steps.done == read_markers(str(tmp_path))


def test_a_lost_input_and_a_lost_output_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none does not exist: 'sh .* reads it"):
        run_all(tmp_path, copy("1", tmp_path / "out", tmp_path / "none"))
    nothing = Step("2", ["true"], [], [str(tmp_path / "out")])
    with pytest.raises(StepFailed, match=r"'true' ended well but .*out is not there"):
        run_all(tmp_path, nothing)


def test_what_a_step_has_read_may_be_gone(tmp_path: Path) -> None:
    """As the images do that have become an LMDB; what was made of them is not made again."""
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    a.write_text("a")
    b.write_text("b")
    run_all(tmp_path, copy("1", out, a, b))
    a.unlink()
    run_all(tmp_path, copy("1", out, a, b))
    assert runs(out) == 1
    b.write_text("other")
    with pytest.raises(InputError, match=r"a does not exist: 'sh .* reads it"):
        run_all(tmp_path, copy("1", out, a, b))
    assert out.read_text() == "ab"  # nothing is cleared away that cannot be made


def test_why_a_step_begins_anew(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    a.write_text("a")
    run_all(tmp_path, copy("1", out, a))
    assert "begins anew" not in capfd.readouterr().out
    a.write_text("other")
    run_all(tmp_path, copy("1", out, a))
    assert f"begins anew, since {a} has changed: sh -c" in capfd.readouterr().out
    out.unlink()
    run_all(tmp_path, copy("1", out, a))
    assert f"begins anew, since {out} is not what it has made: sh" in capfd.readouterr().out
    run_all(tmp_path, Step("1", ["cp", str(a), str(out)], [str(a)], [str(out)]))
    assert "begins anew, since its command was 'sh -c" in capfd.readouterr().out


def test_how_a_command_differs() -> None:
    train = ["sjft", "train", "my solver", "--weights", "a", "--resume"]
    assert other_command(train, [*train[:4], "b", "--resume"]) == "one with --weights a"
    assert other_command(train, [*train, "--gpu", "0,1"]) == "one without --gpu 0,1"
    assert other_command(train, [*train[:2], "x", *train[3:]]) == "one with 'my solver'"
    assert other_command(train, ["sjft", "view", *train[2:]]) == f"'{shlex.join(train)}'"
    adapt = ["sjft", "adapt", "--max-iter", "40", "--mean", "1", "2", "3"]
    assert other_command(adapt, [*adapt[:3], "30", *adapt[4:7], "4"]) == (
        "one with --max-iter 40, --mean 1 2 3"
    )


def test_another_gpu_does_as_well_as_many_do_not(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def step(gpus: str) -> Step:
        words = ["sh", "-c", COPY, str(out), "/dev/null", "--gpu", gpus]
        return Step("1", words, [], [str(out)])

    with run_lock(str(tmp_path)) as lock:
        steps = Steps(str(tmp_path), lock)
        assert not steps.is_done(step("0"))
        with pytest.raises(StepFailed):  # cat takes no --gpu
            steps.run(step("0"))
        out.write_text("made")
        steps.run(step("3"))
        assert out.read_text() == "made"
        assert steps.is_done(step("1")) and not steps.is_done(step("0,1"))
        same = step("0")
        assert steps.is_done(replace(same, words=[*same.words, "--workers", "8"]))


def test_fingerprints(tmp_path: Path) -> None:
    """An LMDB is its records, wherever it lies; a folder its names and sizes."""
    images = [draw_image(i) for i in range(3)]
    first = write_image_lmdb(tmp_path / "first", images, [0, 1, 2])
    second = write_image_lmdb(tmp_path / "second", images, [0, 1, 2])
    other = write_image_lmdb(tmp_path / "other", images[::-1], [0, 1, 2])
    of = Fingerprints().of
    assert of(str(first)) == of(str(second)) != of(str(other))
    assert of(str(tmp_path / "none")) == MISSING
    folder = tmp_path / "folder" / "class"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"1234")
    before = of(str(tmp_path / "folder"))
    os.utime(folder / "a.png", (1, 1))
    assert of(str(tmp_path / "folder")) == before
    (folder / "b.png").write_bytes(b"")
    assert of(str(tmp_path / "folder")) != before
    # a run in a folder that it reads changes nothing in there
    (folder / "runs" / "x").mkdir(parents=True)
    before = of(str(tmp_path / "folder"))
    (folder / "runs" / "x" / "log").touch()
    assert of(str(tmp_path / "folder")) != before
    (tmp_path / "link").symlink_to(folder / "runs")
    assert Fingerprints(str(tmp_path / "link" / "x")).of(str(tmp_path / "folder")) == before


def test_fingerprints_of_what_is_damaged(tmp_path: Path) -> None:
    """Whoever reads it will say what is wrong."""
    (tmp_path / "lmdb").mkdir()
    for text in ("{", "[]"):
        (tmp_path / "lmdb" / "sjft.json").write_text(text)
        assert Fingerprints().of(str(tmp_path / "lmdb")) not in (MISSING, "")
    (tmp_path / "folder").mkdir()
    before = Fingerprints().of(str(tmp_path / "folder"))
    (tmp_path / "folder" / "dangling").symlink_to(tmp_path / "nowhere")
    assert Fingerprints().of(str(tmp_path / "folder")) != before
