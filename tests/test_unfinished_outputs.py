"""What a kill between two outputs leaves: the same command goes on behind the first of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import caffe
from conftest import draw_image, write_image_lmdb
from sjft_tools.cli import main

DEPLOY = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""
#: The outputs of every command in the order in which they are written.
OUTPUTS = {
    "evaluate": ["scores.npz", "result.json", "details"],
    "fuse": ["scores.npz", "result.json", "details"],
    "harden": ["scores.npz", "moves.json", "levels.json"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    (folder / "deploy.prototxt").write_text(DEPLOY)
    for seed in (1, 2):
        caffe.set_random_seed(seed)
        net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
        net.save(str(folder / f"{seed}.caffemodel"))
    images = [draw_image(i, 10, 12) for i in range(9)]
    write_image_lmdb(folder / "test", images, [i % 4 for i in range(9)], list("abcd"))
    run(folder, "evaluate", folder / "of_1", "1", only="--scores")
    return folder


def run(world: Path, command: str, folder: Path, net: str = "1", only: str = "") -> None:
    """Run a command with all its outputs, or with one, in `folder`."""
    folder.mkdir(exist_ok=True)
    files = [str(folder / name) for name in OUTPUTS[command]]
    options = dict(zip(("--scores", "--json", "--details"), files))
    words = [str(world / "deploy.prototxt"), str(world / f"{net}.caffemodel"), str(world / "test")]
    if command == "fuse":
        words = [str(world / "of_1" / "scores.npz")]
    if command == "harden":
        words += ["-", options.pop("--details")]
    options = {option: file for option, file in options.items() if only in ("", option)}
    main([command, *words, *(word for pair in options.items() for word in pair)])


def contents(folder: Path) -> dict[str, bytes]:
    files: Iterator[Path] = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("finished", (1, 2))
@pytest.mark.parametrize("command", sorted(OUTPUTS))
def test_it_goes_on_behind_them(
    world: Path,
    tmp_path: Path,
    command: str,
    finished: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "out"
    run(world, command, folder)
    expected = contents(folder)
    first = folder / OUTPUTS[command][0]
    when = first.stat().st_mtime_ns
    for name in OUTPUTS[command][finished:]:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else os.remove(folder / name)
    for name in OUTPUTS[command][:finished]:
        (folder / f".{name}.lock").touch()  # of a run killed as it put the output in place
    capsys.readouterr()
    run(world, command, folder)
    printed = capsys.readouterr().err
    assert contents(folder) == expected
    assert first.stat().st_mtime_ns == when
    for name in OUTPUTS[command][:finished]:
        assert f"goes on behind {folder / name}, which an unfinished run left" in printed
    # and what is complete is refused
    check_refused(world, command, folder, OUTPUTS[command][0], capsys)


def check_refused(
    world: Path, command: str, folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    with pytest.raises(SystemExit):
        run(world, command, folder)
    assert f"the output {folder / name} exists: give --force" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize(("command", "finished"), [("evaluate", 2), ("harden", 1)])
def test_those_of_other_weights_are_refused(
    world: Path, tmp_path: Path, command: str, finished: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run(world, command, tmp_path, net="2")
    for name in OUTPUTS[command][finished:]:
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else os.remove(path)
    check_refused(world, command, tmp_path, OUTPUTS[command][0], capsys)


def test_anything_else_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("scores.npz", b"{}"), ("scores.npz", b"\0"), ("result.json", b"[]")):
        (tmp_path / name).write_bytes(content)
        check_refused(world, "evaluate", tmp_path, name, capsys)
        (tmp_path / name).unlink()
    np.savez(tmp_path / "scores.npz", nothing=np.zeros(2))
    check_refused(world, "evaluate", tmp_path, "scores.npz", capsys)


def test_other_numbers_in_the_second_output_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hardened from the same scores by another rule."""
    run(world, "harden", tmp_path)
    moves = tmp_path / "moves.json"
    moves.write_text(moves.read_text().replace('"sigma0": 2', '"sigma0": 3'))
    (tmp_path / "levels.json").unlink()
    check_refused(world, "harden", tmp_path, "moves.json", capsys)
