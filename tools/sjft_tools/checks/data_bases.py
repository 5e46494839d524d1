"""The LMDBs that nets name: one line each, however often they are named."""

from __future__ import annotations

import os
from typing import Any, Callable, NamedTuple

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.images import parse_datum
from sjft.lmdb_env import close_env, open_env
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.side_file import SIDE_FILE
from sjft_tools.checks.report import CheckFailed, Report
from sjft_tools.solver_files import elsewhere


class Labels(NamedTuple):
    """The labels in a net's blob: from 0 to classes - 1; `what` names them in messages.

    `half`: which of a joint batch they are of, 0 (the target's) or 1; None in other batches.
    """

    classes: int
    what: str
    half: int | None = None


class DataBases:
    """Opens LMDBs, one line for each; `solver` is the file of the solver that uses them."""

    def __init__(self, report: Report, solver: str) -> None:
        self._report = report
        self._solver = solver
        self._opened: dict[tuple[str, str], Any] = {}
        self._targets: dict[str, ImageLmdb] = {}

    def note_target(self, lmdb: ImageLmdb) -> None:
        """Remember `lmdb` for check_target_classes."""
        self._targets[lmdb.path] = lmdb

    def check_target_classes(self) -> None:
        """Check that all noted LMDBs name the same classes, so that a label means one class."""
        named = [lmdb for lmdb in self._targets.values() if lmdb.class_names]

        def agree() -> tuple[None, str]:
            first = named[0]
            for lmdb in named[1:]:
                if lmdb.class_names != first.class_names:
                    raise CheckFailed(
                        f"{first.path} and {lmdb.path} give their labels different class names",
                        "convert both again from folders with the same classes",
                    )
            return None, f"the {len(first.class_names)} classes of {first.path} everywhere"

        if len(named) > 1:
            self._report.check("target classes", agree, "")

    def _once(self, kind: str, path: str, make: Callable[[], tuple[Any, str]], remedy: str) -> Any:
        key = (kind, os.path.realpath(path))
        if key not in self._opened:
            if not os.path.exists(path):
                remedy = f"{remedy}; or {elsewhere(path, self._solver)}"
                self._report.fail(f"{kind} {path}", "it does not exist", remedy)
                self._opened[key] = None
            else:
                self._opened[key] = self._report.check(f"{kind} {path}", make, remedy)
        return self._opened[key]

    def images(self, path: str) -> ImageLmdb | None:
        """Open an image LMDB with side files; None after a failure."""

        def make() -> tuple[ImageLmdb, str]:
            lmdb = ImageLmdb(path)
            lmdb.close()
            return lmdb, f"{lmdb.count} images, labels 0 to {int(lmdb.labels.max())}"

        remedy = "write it with 'sjft convert', or 'sjft index' it if Caffe's own tools wrote it"
        return self._once("image LMDB", path, make, remedy)

    def neighbours(self, path: str) -> NeighbourLmdb | None:
        """Open a neighbour LMDB; None after a failure."""

        def make() -> tuple[NeighbourLmdb, str]:
            lmdb = NeighbourLmdb(path)
            lmdb.close()
            return lmdb, f"{lmdb.k} neighbours of each of {lmdb.count} target images"

        return self._once("neighbour LMDB", path, make, "write it with 'sjft retrieve'")

    def native(self, path: str, uses_lmdb: bool) -> Labels | None:
        """Open the data base of a native Data layer; None if its labels are not known.

        With side files it is opened as an image LMDB; without them its first record is read.
        """
        if uses_lmdb and os.path.exists(os.path.join(path, SIDE_FILE)):
            lmdb = self.images(path)
            return None if lmdb is None else image_labels(lmdb, "labels")

        def make() -> tuple[None, str]:
            has_lmdb = os.path.exists(os.path.join(path, "data.mdb"))
            if not uses_lmdb and has_lmdb:
                raise CheckFailed(
                    "it is an LMDB, but the Data layer asks for LevelDB, which is Caffe's default",
                    "add 'backend: LMDB' to its data_param",
                )
            if not uses_lmdb:
                return None, "a LevelDB, not looked into"
            env = open_env(path, "native")
            try:
                with env.begin() as transaction, transaction.cursor() as cursor:
                    if not cursor.first():
                        raise InputError(f"{path} is empty: expected at least one record")
                    parse_datum(cursor.value(), f"the first record of {path}")
                count = env.stat()["entries"]
            finally:
                close_env(env)
            return None, f"{count} records; labels not looked at ('sjft index' would list them)"

        remedy = "write it with 'sjft convert' or Caffe's convert_imageset"
        self._once("data base", path, make, remedy)
        return None


def image_labels(lmdb: ImageLmdb, what: str) -> Labels:
    """Return what is known of an image LMDB's labels."""
    return Labels(int(lmdb.labels.max()) + 1, f"{what} of {lmdb.path}")
