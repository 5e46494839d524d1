"""How runs end: the exit status, and the sentence."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

from sjft.errors import InputError
from sjft_tools.caffe_process import reason
from sjft_tools.training.plan import Plan
from sjft_tools.training.record import Record
from sjft_tools.training.snapshots import MODEL, STATE, not_written


class Ending(NamedTuple):
    """The exit status of a run, and a sentence; 0 is success."""

    status: int
    text: str


def ending(plan: Plan, record: Record, status: int, asked: signal.Signals | None) -> Ending:
    """Return how the run ended whose leading process ended with `status`, negative for a signal.

    `asked`: the last signal that asked the run to stop. Raises InputError for bad input that only
    Caffe, or a layer, found.
    """
    if record.end is not None:
        name, values = record.end
        return _reported(plan, record, name, values, asked)
    if asked is not None and status == -signal.SIGKILL:
        without = "" if record.iteration is None else " without a snapshot"
        text = f"stopped by {asked.name}{_when(record)}{without}"
        return Ending(128 + asked, f"{text}: {_how_to_go_on(plan, record)}")
    why = _why(status, list(record.tail))
    if record.saving is not None and status != -signal.SIGKILL:
        return Ending(1, f"{not_written(plan.prefix, *record.saving, why)}{_newest(plan, record)}")
    text = f"the process that trains ended{_when(record)}: {why}; its log is {plan.log}"
    return Ending(1, f"{text}{_newest(plan, record)}")


def _reported(
    plan: Plan, record: Record, name: str, values: list[Any], asked: signal.Signals | None
) -> Ending:
    if name == "finished":
        weights = "no weights were saved"
        if record.newest is not None:
            weights = f"weights in {record.newest[: -len(STATE)]}{MODEL}"
        text = f"done{_when(record)}: {weights}, values in {plan.csv}, log in {plan.log}"
        return Ending(0, text)
    if name == "stopped":
        number = asked or signal.Signals(values[0])
        text = f"stopped by {number.name}{_when(record)}: {_how_to_go_on(plan, record)}"
        return Ending(128 + number, text)
    if name == "diverged":
        return Ending(
            1,
            f"{values[0]}, and no snapshot was taken of it: lower base_lr, set clip_gradients, or "
            f"look for wrong labels with 'sjft check {plan.path}'{_newest(plan, record)}",
        )
    status, text = values
    text = f"{text}{_newest(plan, record)}"
    if status == 2:
        raise InputError(text)
    return Ending(status, text)


def _when(record: Record) -> str:
    if record.iteration is None:
        return " before training began"
    return f" after iteration {record.iteration}"


def _newest(plan: Plan, record: Record) -> str:
    if record.iteration is None:
        return ""
    if record.newest is None:
        return f"; there is no snapshot yet: '{plan.resumption}' starts from the beginning"
    return f"; the newest snapshot is {record.newest}: '{plan.resumption}' goes on from it"


def _how_to_go_on(plan: Plan, record: Record) -> str:
    if record.iteration is None:
        return "nothing was lost"
    goes_on = "starts from the beginning"
    if record.newest is not None:
        goes_on = f"goes on from {record.newest}"
    return f"'{plan.resumption}' {goes_on}"


def _why(status: int, log: list[str]) -> str:
    """Return why the process ended: Caffe's fatal line; else the signal, or its last line."""
    if status < 0:
        # after a signal other lines do not tell of the end
        log = [line for line in log if line.startswith("F")]
    why = reason(status, "\n".join(log))
    if "CPU-only" in why:
        return f"{why}: leave out --gpu and set solver_mode: CPU, or use a Caffe built with CUDA"
    if status == -signal.SIGKILL:
        return f"{why}, by hand or because memory ran out"
    return why
