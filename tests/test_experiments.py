"""The READMEs of the paper's experiments: commands that sjft takes, on files that are there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from string import Template

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from conftest import REPO
from pages import parser_of
from sjft_tools.adapting import adapt
from sjft_tools.cli import COMMANDS

EXPERIMENTS = ["stanford_dogs", "flowers102", "caltech256", "mit67"]
#: What a user sets before typing the commands.
GIVEN = {
    "ARCHIVES": "archives",
    "INITIAL": "initial.caffemodel",
    "ALEXNET": "bvlc_alexnet.caffemodel",
    "SELECTED": "200000",
}
#: The paper's comparisons, as the first column of a README's table begins.
COMPARISONS = [
    "target only, from scratch",
    "selective joint, from scratch",
    "fine-tuning without source",
    "joint, all source samples",
    "joint, random source samples",
    "selective joint, no iterative retrieval",
    "selective joint, Gabor bank",
    "with model fusion",
]


def shell_lines(experiment: str) -> list[list[str]]:
    """The words of every command in the README's blocks, variables filled in."""
    text = (REPO / "prototxt" / experiment / "README.md").read_text(encoding="utf-8")
    values, lines = dict(GIVEN), []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = [Template(word).substitute(values) for word in shlex.split(line, comments=True)]
            if words and all("=" in word for word in words):
                values.update(word.split("=", 1) for word in words)
            elif words:
                lines.append(words)
    return lines


def lmdbs(net: Path) -> set[str]:
    """The LMDBs that a net's data layers name."""
    message = text_format.Parse(net.read_text(encoding="utf-8"), caffe_pb2.NetParameter())
    params = [
        json.loads(layer.python_param.param_str)
        for layer in message.layer
        if layer.python_param.layer.endswith("DataLayer")
    ]
    keys = ("target", "source", "neighbours")
    return {each[key] for each in params for key in keys if key in each}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_command_is_one_that_sjft_takes(experiment):
    lines = shell_lines(experiment)
    assert len(lines) >= 15
    made: set[str] = set()
    for words in lines:
        if words[0] == "mkdir":
            continue
        assert words[0] == "sjft" and words[1] in COMMANDS, words
        options = parser_of(words[1]).parse_args(words[2:])
        for word in words[2:]:
            if word.startswith("prototxt/"):
                assert (REPO / word).is_file(), word
            if word.endswith("_lmdb") and word not in made:
                new = (
                    getattr(options, "output", None)
                    if words[1] == "convert"
                    else getattr(options, "neighbours", None)
                )
                made.add(word)
                assert word == new, f"{word} is not made before {' '.join(words[:2])}"
    nets = (REPO / "prototxt" / experiment).rglob("*_train_val.prototxt")
    assert set().union(*(lmdbs(net) for net in nets)) <= made


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_schedules_and_counts_are_the_papers(experiment):
    classes, test_images, k0 = {
        "stanford_dogs": (120, 8580, 100),
        "flowers102": (102, 6149, 300),
        "caltech256": (256, 14420, 50),
        "mit67": (67, 1340, 100),
    }[experiment]
    folder = REPO / "prototxt" / experiment
    solver = text_format.Parse(
        (folder / "joint_solver.prototxt").read_text(), caffe_pb2.SolverParameter()
    )
    assert 9000 <= solver.max_iter <= 20000 and 2400 <= solver.stepsize <= 5000
    assert solver.iter_size == 10 and solver.base_lr == pytest.approx(0.01)
    for file in folder.rglob("*_solver.prototxt"):
        each = text_format.Parse(file.read_text(), caffe_pb2.SolverParameter())
        assert (REPO / each.net).is_file()
        assert 0 <= each.test_iter[0] * 4 - test_images < 4
        assert (each.max_iter, each.stepsize) == (solver.max_iter, solver.stepsize)
    sources = {".": 1000, "places205": 205, "hybrid": 1205}
    for net in folder.rglob("joint_train_val.prototxt"):
        message = text_format.Parse(net.read_text(), caffe_pb2.NetParameter())
        outputs = {
            layer.name: layer.inner_product_param.num_output
            for layer in message.layer
            if layer.type == "InnerProduct"
        }
        source = sources[str(net.parent.relative_to(folder))]
        assert outputs == {"fc_target": classes, "fc_source": source}
        assert json.loads(message.layer[0].python_param.param_str)["k0"] == k0


def solvers_of(experiment: str) -> dict[str, str]:
    """Every solver of the README, published or adapted: its path -> its last weights file."""
    snapshots: dict[str, tuple[str, int]] = {}
    for file in (REPO / "prototxt" / experiment).rglob("*_solver.prototxt"):
        solver = text_format.Parse(file.read_text(), caffe_pb2.SolverParameter())
        snapshots[str(file.relative_to(REPO))] = (solver.snapshot_prefix, solver.max_iter)
    for words in shell_lines(experiment):
        if words[:2] == ["sjft", "adapt"]:
            prefix, max_iter = snapshots[words[2]]
            if "--max-iter" in words:
                max_iter = int(words[words.index("--max-iter") + 1])
            new = f"{words[3]}/snapshots/{Path(prefix).name}"
            snapshots[f"{words[3]}/solver.prototxt"] = (new, max_iter)
    return {path: f"{prefix}_iter_{last}.caffemodel" for path, (prefix, last) in snapshots.items()}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_snapshots_are_where_the_commands_look_for_them(experiment):
    """The weights that `sjft evaluate` and `sjft harden` read are those that some solver writes."""
    written = set(solvers_of(experiment).values())
    for words in shell_lines(experiment):
        for word in words:
            if word.endswith(".caffemodel") and word not in GIVEN.values():
                assert word in written, word


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_comparison_of_the_paper_has_its_solver(experiment):
    """A row for each; what it trains is published, or made by a command of the same README."""
    text = (REPO / "prototxt" / experiment / "README.md").read_text(encoding="utf-8")
    table = text[text.index("## The paper's rows") :]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
    assert [name for name in COMPARISONS if not any(name in row for row, _ in rows)] == []
    assert any("selective joint" in row and "then rounds" in solver for row, solver in rows)
    known = solvers_of(experiment)
    lines = shell_lines(experiment)
    folder = f"data/{experiment}" + ("/60" if experiment == "caltech256" else "")
    for name, solver in rows[1:]:
        if "fusion" in name:
            assert any(words[:2] == ["sjft", "fuse"] for words in lines)
            continue
        path = re.search(r"`([^`]+)`", solver).group(1).replace("$N", "60")
        assert path in known or f"prototxt/{experiment}/{path}" in known, path
    rounds = [words for words in lines if words[:2] == ["sjft", "train"] and "round2" in words[2]]
    assert f"{folder}/round2/solver.prototxt" in [words[2] for words in rounds]
    evaluated = {words[3] for words in lines if words[:2] == ["sjft", "evaluate"]}
    assert {known[words[2]] for words in lines if words[:2] == ["sjft", "train"]} <= evaluated


def test_rows_of_the_paper_are_adapted_from_the_published_solvers(tmp_path, monkeypatch):
    """`sjft adapt`, as the README has it, on the real solver; it needs no data for that."""
    monkeypatch.chdir(REPO)
    changes = {"neighbours": "data/flowers102/neighbors_all_lmdb", "k0": 1257}
    folder = str(tmp_path / "all_sources")
    adapt("prototxt/flowers102/joint_solver.prototxt", folder, changes, force=False)
    assert "data/flowers102/neighbors_all_lmdb" in lmdbs(
        tmp_path / "all_sources/train_val.prototxt"
    )
    solver = (tmp_path / "all_sources/solver.prototxt").read_text()
    assert f"{folder}/snapshots/joint" in solver
