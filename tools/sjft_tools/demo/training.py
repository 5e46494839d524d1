"""The demo's ways of training, and the files that each one's commands are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sjft_tools.demo.workspace import Workspace
from sjft_tools.nets.demo import Demo, demo_files


@dataclass(frozen=True)
class Way:
    """One way to train; `kind` says with which of prototxt/demo's nets."""

    name: str
    title: str
    kind: str


TARGET_ONLY = Way("target_only", "target only", "target_only")
SELECTIVE = Way("joint", "selective joint", "joint")
RANDOM = Way("random_joint", "random joint", "joint")


@dataclass(frozen=True)
class Plan:
    """What `caffe train` and `sjft evaluate` are given."""

    solver: Path
    deploy: Path
    weights: Path


def plan(way: Way, work: Workspace, demo: Demo) -> Plan:
    """Return a run's files: the committed ones if they say just this, else new ones below `out`.

    `demo` holds the settings that are not a matter of where files lie.
    """
    paths = work.paths
    if way is RANDOM:
        paths = replace(paths, neighbours=work.random_neighbours)
    snapshots = work.out if way.name == way.kind else work.out / way.name
    snapshots.mkdir(parents=True, exist_ok=True)
    wanted = replace(
        demo, task=replace(demo.task, paths=paths), snapshot_folder=snapshots.as_posix()
    )
    if not _lie_in(Path(wanted.folder), demo_files(wanted)):
        wanted = replace(wanted, folder=(work.out / "nets" / way.name).as_posix())
        for name, text in demo_files(wanted).items():
            work.file("nets", way.name, name).write_text(text, encoding="utf-8")
    return Plan(
        solver=Path(wanted.folder, f"{way.kind}_solver.prototxt"),
        deploy=Path(wanted.folder, "deploy.prototxt"),
        weights=snapshots / f"{way.kind}_iter_{wanted.max_iter}.caffemodel",
    )


def _lie_in(folder: Path, texts: dict[str, str]) -> bool:
    """Tell whether `folder` holds exactly these files."""
    try:
        return all((folder / name).read_text(encoding="utf-8") == texts[name] for name in texts)
    except FileNotFoundError:
        return False
