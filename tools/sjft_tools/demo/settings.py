"""The demo's settings, and the experiment that they make of the committed one."""

from __future__ import annotations

import copy
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sjft.errors import InputError
from sjft_tools.atomic import write_file
from sjft_tools.experiment.settings import read_experiment

EXPERIMENT = "prototxt/demo/experiment.yaml"


@dataclass(frozen=True)
class Settings:
    """What the user chose; the options of `sjft demo` say what each one is."""

    out: Path
    seed: int
    seeds: int
    iterations: int
    per_class: int
    glyphs: int
    k: int
    with_random: bool
    force: bool


@dataclass(frozen=True)
class Place:
    """Where one seed's files lie: the first one's below `out`, the others' in a folder each."""

    folder: Path
    source_images: Path
    source_lmdb: Path | None  # the first seed's, which the others share

    @property
    def target_train_images(self) -> Path:
        """The digits to train on, in a folder a class."""
        return self.folder / "images/target_train"

    @property
    def target_test_images(self) -> Path:
        """The digits to test on."""
        return self.folder / "images/target_test"

    @property
    def run(self) -> Path:
        """The run folder of `sjft run`."""
        return self.folder / "run"

    @property
    def images(self) -> list[str]:
        """Paths of the images that `sjft run` reads."""
        source = self.source_lmdb or self.source_images
        return [str(path) for path in (self.target_train_images, self.target_test_images, source)]


def place(settings: Settings, number: int) -> Place:
    """Return where the files of the seed `number`, from 0, lie."""
    out = settings.out
    if number == 0:
        return Place(out, out / "images/source", None)
    folder = out / f"seed_{settings.seed + number}"
    return Place(folder, out / "images/source", out / "run/source_lmdb")


def read_committed() -> dict[str, Any]:
    """Return the committed experiment. Raises InputError outside a checkout."""
    if not Path(EXPERIMENT).is_file():
        raise InputError(f"there is no {EXPERIMENT} here: start the demo in a checkout of sjft")
    read_experiment(EXPERIMENT)  # says what is wrong if it cannot be read
    import yaml

    content: dict[str, Any] = yaml.safe_load(Path(EXPERIMENT).read_text(encoding="utf-8"))
    return content


def experiment_file(settings: Settings, number: int) -> str:
    """Return the experiment of the seed `number`, from 0: the committed file if it says just this.

    Otherwise it is written beside the seed's other files. Raises InputError as read_committed does.
    """
    committed = read_committed()
    import yaml

    wanted = _changed(committed, settings, number)
    if wanted == committed:
        return EXPERIMENT
    path = place(settings, number).folder / "experiment.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(str(path), yaml.safe_dump(wanted, sort_keys=False).encode(), force=True)
    return str(path)


def _changed(committed: dict[str, Any], settings: Settings, number: int) -> dict[str, Any]:
    where = place(settings, number)
    wanted = copy.deepcopy(committed)
    train, test, source = where.images
    wanted["target_train"] = _convert(train)
    wanted["target_test"] = _convert(test)
    wanted["source"] = source if where.source_lmdb else _convert(source)
    wanted["neighbours"]["k"] = settings.k
    if settings.seed + number != 1:
        wanted["seed"] = settings.seed + number
    full = committed["rounds"][0]["max_iter"]
    for each in wanted["rounds"]:
        for key in ("max_iter", "stepsize", "snapshot"):
            if key in each:
                each[key] = max(1, each[key] * settings.iterations // full)
    return wanted


def _convert(images: str) -> dict[str, str]:
    return {"convert": shlex.join(["folder", images])}
