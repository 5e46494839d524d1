"""``sjft train`` in several processes, as far as they need no GPUs: the id, shares, failures."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

import train_rank
from caffe_nets import BODY, JOINT_TOPS, python_layer
from joint_world import TARGETS, World, make_world
from sjft_tools.commands.train import add_arguments
from sjft_tools.training import processes
from sjft_tools.training.endings import Ending
from sjft_tools.training.job import Job
from sjft_tools.training.launcher import run_plan
from sjft_tools.training.plan import make_plan
from sjft_tools.training.processes import SolverProcess
from sjft_tools.training.screen import Screen
from sjft_tools.training.workplace import workplace
from train_job import write_job, write_solver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which train_rank.py is what the launcher starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "_MODULE", train_rank.__name__)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    return tmp_path


def run_two_ranks(world: World) -> Ending:
    """Run a job of two processes in the current folder."""
    layer = python_layer("JointDataLayer", world.param_str(batch_size=2), JOINT_TOPS)
    Path("net.prototxt").write_text(layer)
    write_solver(Path(), test_iter=None, test_interval=None)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    plan = make_plan(parser.parse_args(["solver.prototxt"]))
    return run_plan(plan._replace(gpus=[0, 1]), Screen("sjft train"))


def test_two_ranks_have_one_id_and_make_up_every_epoch(world: World, here: Path) -> None:
    assert run_two_ranks(world).status == 0
    ranks = [json.loads(Path(f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    assert [rank["id"] for rank in ranks] == [train_rank.ID.hex()] * 2
    steps = list(zip(*(rank["targets"] for rank in ranks)))  # one target image each
    for epoch in (steps[: TARGETS // 2], steps[TARGETS // 2 :]):
        assert sorted(sum(epoch, ())) == list(range(TARGETS))
    assert not list(here.glob(".*"))


def test_the_failure_of_another_rank_ends_the_run(world: World, here: Path) -> None:
    Path("rank_1_fails").touch()
    ending = run_two_ranks(world)
    assert ending == (
        1,
        "rank 1 failed; there is no snapshot yet: 'sjft train solver.prototxt --resume' starts "
        "from the beginning",
    )
    assert not list(here.glob(".*"))


def test_a_rank_that_fails_ends_with_a_status(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher waits for rank 0's end otherwise, and rank 0 for this rank's gradients."""
    monkeypatch.chdir(
        write_job(tmp_path, world, BODY.replace("num_output: SOURCE", "num_output: 2"))
    )
    with workplace("x") as place:
        job = Job(
            solver="solver.prototxt",
            prefix="x",
            working_prefix=place.file("snapshot"),
            max_iter=20,
            snapshot=0,
            snapshot_after_train=False,
            with_gradients=False,
            weights=[],
            snapshots=[],
            must_resume=False,
            superseded=[],
            gpus=[],
            rank=1,
            launcher=os.getpid(),
        )
        process = SolverProcess(job, place.lock)
        reports: list[Any] = []
        try:
            while process.ended() is None:
                reports += process.read()[1]
                time.sleep(0.01)
        finally:
            process.kill()
            process.close()
        reports += process.read()[1]
    assert process.ended() == 1
    name, status, text = reports[-1]
    assert (name, status) == ("failed", 2)
    assert "the label blob of task 2 holds the label" in text
