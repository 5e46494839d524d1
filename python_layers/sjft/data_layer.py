"""What both data layers do: copy batch after batch into the tops, from where the run goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import caffe
from sjft.batches import Batches
from sjft.command_line import check_one_gpu, is_embedded, process_arguments
from sjft.errors import InputError
from sjft.layer_params import PrefetchParams
from sjft.layer_tools import blobs, reported
from sjft.log import say
from sjft.prefetch import BatchStream, open_stream
from sjft.resume import batches_before
from sjft.wait_report import WaitReport

_MOST_NUMBERS = 2**31 - 1


def rank_and_ranks() -> tuple[int, int]:
    """Return this process's number among those that train together, and how many they are.

    Raises InputError where several GPUs train and Caffe does not tell them apart.
    """
    if hasattr(caffe, "solver_rank"):
        return caffe.solver_rank(), caffe.solver_count()
    if is_embedded():
        check_one_gpu(process_arguments())
    return 0, 1


def _check_size(tops: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in tops.items():
        count = math.prod(shape)
        if count > _MOST_NUMBERS:
            raise InputError(
                f"the top {name} would hold {' x '.join(map(str, shape))} numbers, more than "
                f"the {_MOST_NUMBERS} that Caffe can count: expected a smaller batch_size or crop"
            )


def _remedy(workers: int, prefetch: PrefetchParams) -> str:
    """Return what to do about waiting for data, of `workers` processes that make it."""
    if workers < prefetch.workers:
        return (
            f"give it a larger 'prefetch' or 'prefetch_mb': there is room for batches of {workers} "
            f"of its {prefetch.workers} workers only"
        )
    return f"give it more 'workers' (now {workers}), if there are cores for them"


class DataLayer(caffe.Layer):
    """What the data layers share: tops in a fixed order, fed from a stream of batches."""

    _stream: BatchStream

    def open(self, bottom: Any, top: Any, batches: Batches, prefetch: PrefetchParams) -> None:
        """Serve `batches`, made ahead as `prefetch` says, from where the run goes on.

        Raises InputError if bottoms or tops do not fit.
        """
        if len(bottom):
            raise InputError(f"expected no bottom, got {len(bottom)}")
        names = list(batches.tops)
        least = len(names) - len(batches.optional_tops)
        if not least <= len(top) <= len(names):
            optional = "".join(f"[, {name}]" for name in batches.optional_tops)
            raise InputError(
                f"expected the tops {', '.join(names[:least])}{optional}, got {len(top)} tops"
            )
        _check_size(batches.tops)
        self._names = names[: len(top)]
        self._shapes = [batches.tops[name] for name in self._names]
        #: How many classes the labels in each top are of, 0 if there are none in it.
        self.label_classes = [batches.classes.get(name, 0) for name in self._names]
        say(f"{type(self).__name__}: {batches.summary()}")
        train = self.phase == caffe.TRAIN
        first = batches_before(process_arguments(), train) if is_embedded() else 0
        self._stream = open_stream(batches, prefetch, first)
        self._report = WaitReport(
            type(self).__name__, prefetch.report_every, _remedy(self._stream.workers, prefetch)
        )
        self._say_where(first)

    def start_at(self, batch: int) -> None:
        """Go on with batch number `batch` as if those before had been taken: see sjft.resume."""
        with reported(self):
            self._stream.start_at(batch)
        self._say_where(batch)

    def _say_where(self, batch: int) -> None:
        if batch:
            say(f"{type(self).__name__}: goes on at batch {batch}")

    def reshape(self, bottom: Any, top: Any) -> None:
        """Give the tops their shapes, which never change."""
        for blob, shape in zip(blobs(top), self._shapes):
            blob.reshape(*shape)

    def forward(self, bottom: Any, top: Any) -> None:
        """Put the next batch into the tops."""
        with reported(self):
            tops = {name: blob.data for name, blob in zip(self._names, blobs(top))}
            self._report.note(self._stream.next_into(tops))

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Do nothing: there is no bottom."""

    def close(self) -> None:
        """End the workers, for a program that drops a net and goes on: ``net.layers[i].close()``.

        Caffe never deletes a Python layer (the C++ and the Python object hold each other), so that
        otherwise the workers wait until the process ends.
        """
        if hasattr(self, "_stream"):
            self._stream.close()
