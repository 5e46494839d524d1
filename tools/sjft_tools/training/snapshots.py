"""Snapshots of a run: under which names they lie, which one a run can go on from, taking one."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, Callable, NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft_tools.atomic import sync
from sjft_tools.training.histories import histories
from sjft_tools.training.snapshot_files import (
    IncompleteError,
    Model,
    Sizes,
    State,
    copy_state,
    read_model,
    read_state,
)

MODEL, STATE = ".caffemodel", ".solverstate"


class TrainingFailed(Exception):
    """Training cannot go on; one sentence says why."""


class Diverged(TrainingFailed):
    """The loss or the weights are not finite."""


class SnapshotFile(NamedTuple):
    """A file of a snapshot, by its name: of which iteration; whether it is a BINARYPROTO state."""

    iteration: int
    path: str
    is_state: bool


def snapshot_path(prefix: str, iteration: int, suffix: str) -> str:
    """Return the name that Caffe gives to a file of a snapshot."""
    return f"{prefix}_iter_{iteration}{suffix}"


def snapshot_files(prefix: str) -> list[SnapshotFile]:
    """Return all files of snapshots of the snapshot_prefix `prefix`, the newest first."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(rf"{re.escape(name)}_iter_(\d+)(\.caffemodel|\.solverstate)(\.h5)?")
    found = []
    for entry in os.listdir(folder or "."):
        match = pattern.fullmatch(entry)
        if match is not None:
            is_state = match.group(2) == STATE and match.group(3) is None
            found.append(SnapshotFile(int(match.group(1)), os.path.join(folder, entry), is_state))
    return sorted(found, reverse=True)


class Shape(NamedTuple):
    """What a snapshot of a solver holds.

    `layers`: name and sizes of blobs of every layer; `learnable`: the sizes of all blobs, shared
    ones once; `histories`: how many histories of each the solver keeps, None if not known;
    `with_gradients`: whether models hold every blob's gradient too (snapshot_diff).
    """

    layers: list[tuple[str, Sizes]]
    learnable: Sizes
    histories: int | None
    with_gradients: bool = False

    def is_history(self, sizes: Sizes) -> bool:
        """Whether a solver's history has these sizes."""
        count = self.histories or len(sizes) // max(1, len(self.learnable))
        return sizes == self.learnable * count

    def has_blobs_of(self, model: Model) -> bool:
        """Whether a model has blobs of the same sizes in layers of the same names."""
        return {name: sizes for name, sizes in model.layers if sizes} == {
            name: sizes for name, sizes in self.layers if sizes
        }

    @property
    def bytes_needed(self) -> int:
        """About how much room taking a snapshot takes, its state being copied once."""
        history = (self.histories or 1) * sum(self.learnable)
        weights = (2 if self.with_gradients else 1) * sum(sum(sizes) for _, sizes in self.layers)
        return 4 * (weights + 2 * history)


def learnable_blobs(net: Any) -> list[Any]:
    """Return the blobs of pycaffe's `net` that are trained, those shared between layers once."""
    blobs: dict[int, Any] = {}
    for layer in net.layers:
        for i in range(len(layer.blobs)):
            blob = layer.blobs[i]
            blobs.setdefault(blob.data.ctypes.data, blob)
    return list(blobs.values())


def shape_of(solver: Any, with_gradients: bool = False) -> Shape:
    """Return the Shape of snapshots of pycaffe's `solver`; `with_gradients`: see Shape."""
    layers = []
    for name, layer in zip(solver.net._layer_names, solver.net.layers):
        layers.append((name, tuple(layer.blobs[i].count for i in range(len(layer.blobs)))))
    learnable = tuple(blob.count for blob in learnable_blobs(solver.net))
    return Shape(layers, learnable, histories(type(solver).__name__), with_gradients)


def choose(
    paths: Iterable[str], shape: Shape, pass_over: Callable[[str], None]
) -> tuple[str, State] | None:
    """Return the first of the solver states `paths` that is complete, with its model; None if none.

    `pass_over` is told in words of each that is not. Raises InputError if one is complete, but of
    another net or solver.
    """
    for path in paths:
        try:
            return path, complete_state(path, shape)
        except IncompleteError as error:
            pass_over(str(error))
    return None


def complete_state(path: str, shape: Shape) -> State:
    """Return what the solver state `path` holds if it and its model are complete.

    Its model is the file that it names; if there is none, the one beside it, as after a move.
    Raises IncompleteError if they are not complete, InputError if it is of another net or solver.
    """
    state = read_state(path)
    if not shape.is_history(state.history):
        raise InputError(
            f"the snapshot {path} is of another net or type of solver: it keeps "
            f"{len(state.history)} blobs of {sum(state.history)} numbers in all, expected "
            f"{len(shape.learnable) * (shape.histories or 1)} of "
            f"{sum(shape.learnable) * (shape.histories or 1)}; give another snapshot_prefix, or "
            f"--force without --resume to remove it and start anew"
        )
    beside = path[: -len(STATE)] + MODEL if path.endswith(STATE) else state.learned_net
    if not os.path.exists(state.learned_net) and os.path.exists(beside):
        state = state._replace(learned_net=beside)
    try:
        model = read_model(state.learned_net)
    except IncompleteError as error:
        raise IncompleteError(f"{path} is of no use: its model {error}") from None
    if not shape.has_blobs_of(model):
        raise IncompleteError(
            f"{path} is of no use: its model {state.learned_net} is cut short or of another net"
        )
    return state


class Saver:
    """Takes snapshots of pycaffe's `solver`, which appear under their final names when complete.

    The solver writes to `working_prefix`, which must lie on the same file system as `prefix`.
    """

    def __init__(self, solver: Any, shape: Shape, prefix: str, working_prefix: str) -> None:
        self._solver = solver
        self._shape = shape
        self._prefix = prefix
        self._working_prefix = working_prefix
        self._iteration = 0
        self.is_waiting = False

    def write(self) -> None:
        """Write a snapshot, which then waits for `publish`.

        Raises TrainingFailed if it cannot be written, Diverged if it is not worth it.
        """
        self._iteration = self._solver.iter
        if not all(np.isfinite(blob.data).all() for blob in learnable_blobs(self._solver.net)):
            raise Diverged(f"after iteration {self._iteration} the weights are not finite")
        with self._failing_in_words():
            with contextlib.suppress(FileExistsError):  # it is not if somebody has cleared up
                os.mkdir(os.path.dirname(self._working_prefix))
            self._solver.snapshot()
            model, raw_state, state = self._working_files()
            if read_model(model).layers != self._shape.layers:
                raise IncompleteError(model)
            if not self._shape.is_history(read_state(raw_state).history):
                raise IncompleteError(raw_state)
            copy_state(raw_state, state, snapshot_path(self._prefix, self._iteration, MODEL))
            os.remove(raw_state)
            sync(model)
            sync(state)
        self.is_waiting = True

    def publish(self) -> None:
        """Give the snapshot that waits its final names. Raises TrainingFailed."""
        final_model, final_state = (
            snapshot_path(self._prefix, self._iteration, suffix) for suffix in (MODEL, STATE)
        )
        with self._failing_in_words():
            model, _, state = self._working_files()
            # a new model beside an old state would pass for a snapshot
            with contextlib.suppress(FileNotFoundError):
                os.remove(final_state)
            os.replace(model, final_model)
            os.replace(state, final_state)
            sync(os.path.dirname(final_model) or ".")
        self.is_waiting = False

    def _working_files(self) -> tuple[str, str, str]:
        """Return where the model, the state as Caffe writes it, and the state to be are."""
        model, state = (
            snapshot_path(self._working_prefix, self._iteration, suffix)
            for suffix in (MODEL, STATE)
        )
        return model, state, f"{state}.new"

    @contextlib.contextmanager
    def _failing_in_words(self) -> Iterator[None]:
        try:
            yield
        except (IncompleteError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else "not all of it was written"
            raise TrainingFailed(
                not_written(self._prefix, self._iteration, self._shape.bytes_needed, str(why))
            ) from None


def not_written(prefix: str, iteration: int, needed: int, why: str) -> str:
    """Return what to say of a snapshot that could not be written, `needed` being bytes."""
    folder = os.path.dirname(prefix) or "."
    what = (
        f"the snapshot of iteration {iteration} could not be written to "
        f"{snapshot_path(prefix, iteration, MODEL)} and {STATE} ({why})"
    )
    try:
        free = free_bytes(folder)
    except OSError as error:
        return f"{what}: expected the folder {folder}, which is out of reach ({error.strerror})"
    limits = "; a quota, or 'ulimit -f', may leave less" if free >= needed else ""
    return (
        f"{what}: expected room for about {mib(needed)} in {folder}, where {mib(free)} are "
        f"free{limits}"
    )


def free_bytes(folder: str) -> int:
    """Return how many bytes this user may still write in `folder`."""
    statistics = os.statvfs(folder)
    return statistics.f_bavail * statistics.f_frsize


def mib(count: int) -> str:
    """Return bytes in words: "1.5 MiB"."""
    return f"{count / 2**20:.1f} MiB"
