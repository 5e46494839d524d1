"""Where the demo's files lie, and what it may replace: only its own.

An image LMDB is the demo's own when it holds the demo's classes, a neighbour LMDB when it belongs
to two such image LMDBs: told from the contents, this holds wherever the last run was killed. The
output folder is its own when it bears the demo's mark.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.demo import digits
from sjft_tools.demo.folders import SOURCE_CLASSES
from sjft_tools.nets.joint import DataPaths

MARK = "made_by_sjft_demo"


@dataclass(frozen=True)
class Workspace:
    """One seed's files: data bases under `data`, everything else under `out`."""

    data: Path
    out: Path
    source: Path  # the source LMDB, which all seeds share

    @property
    def paths(self) -> DataPaths:
        """The data bases, under the names that the committed nets have."""
        return DataPaths(
            target=str(self.data / "target_train_lmdb"),
            target_test=str(self.data / "target_test_lmdb"),
            source=str(self.source),
            neighbours=str(self.data / "neighbors_lmdb"),
        )

    @property
    def random_neighbours(self) -> str:
        """The control's neighbour LMDB: source images drawn at random."""
        return str(self.out / "random_neighbors_lmdb")

    def file(self, *names: str) -> Path:
        """Return a path below `out`; its folder is made if need be."""
        path = self.out.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, step: str) -> Path:
        """Return where a step's log goes."""
        return self.file("logs", f"{step}.log")


def holds_classes(path: str, class_names: list[str]) -> bool:
    """Tell whether `path` is an image LMDB of exactly these classes, in whatever order."""
    try:
        return sorted(ImageLmdb(path).class_names) == sorted(class_names)
    except InputError:
        return False


def joins(path: str, target: str, source: str) -> bool:
    """Tell whether `path` is a neighbour LMDB of these two image LMDBs."""
    try:
        NeighbourLmdb(path).check_matches(ImageLmdb(target), ImageLmdb(source))
    except InputError:
        return False
    return True


def refuse_foreign(work: Workspace, force: bool) -> None:
    """Raise InputError if the demo would replace what it did not make, unless `force` is set."""
    paths = work.paths
    if (
        work.out.exists()
        and any(work.out.iterdir())
        and not (work.out / MARK).exists()
        and not force
    ):
        raise InputError(
            f"the folder {work.out} holds files that the demo did not make: name another one by"
            " --out, or give --force to use it"
        )
    own = {
        paths.target: holds_classes(paths.target, digits.CLASS_NAMES),
        paths.target_test: holds_classes(paths.target_test, digits.CLASS_NAMES),
        paths.source: holds_classes(paths.source, SOURCE_CLASSES),
    }
    ours = own[paths.target] and own[paths.source]
    own[paths.neighbours] = ours and joins(paths.neighbours, paths.target, paths.source)
    for path, is_own in own.items():
        if Path(path).exists() and not is_own and not force:
            raise InputError(
                f"{path} was not made by the demo: move it away, name another folder by --data,"
                " or give --force to replace it"
            )


def make_room(work: Workspace) -> None:
    """Mark the output folder, make the data folder and remove the old neighbours from it.

    The neighbours must go before their image LMDBs do: without those nothing tells whose they are.
    """
    work.file(MARK).touch()
    if Path(work.paths.neighbours).exists():
        shutil.rmtree(work.paths.neighbours)
    work.data.mkdir(parents=True, exist_ok=True)
