"""What the tests share: drawn images, LMDBs of them, and ``sjft`` as users run it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import digits_run
from processes import SJFT, run
from sjft.errors import InputError
from sjft.prefetch import BatchStream
from sjft.transforms import Geometry, apply_view, central_view
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.pycaffe import import_caffe

# A test run in the background, as a CI may be, is born deaf to Ctrl-C, and so would be the commands
# that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# First of all and quietly: the tests that say `import caffe` find it loaded.
with contextlib.suppress(InputError):
    import_caffe()

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --only-skip, for CI: no test may go unrun there without anybody noticing."""
    parser.addoption(
        "--only-skip",
        action="append",
        metavar="TEXT",
        help="let tests be skipped only for reasons that hold TEXT; others fail (may be repeated)",
    )


def fail_unless_allowed(config: pytest.Config, report: pytest.TestReport) -> None:
    """Turn a skip for a reason that --only-skip does not allow into a failure."""
    allowed = config.getoption("only_skip")
    if not allowed or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2])
    if not any(text in reason for text in allowed):
        report.outcome = "failed"
        report.longrepr = f"{reason}: --only-skip allows skips for {allowed} alone"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Apply --only-skip to a test."""
    fail_unless_allowed(item.config, (yield).get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Apply --only-skip to a whole test file."""
    fail_unless_allowed(collector.config, (yield).get_result())


def draw_image(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Return a smooth coloured image, H x W x 3 uint8 BGR, that differs for every `seed`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def centre_view(
    image: np.ndarray,
    resize: int | None,
    resize_shorter: int | None,
    crop: int,
    mean: Sequence[float],
    name: str = "the image",
) -> np.ndarray:
    """Return the central view of H x W x 3 uint8 BGR, float32 3 x crop x crop, mean subtracted."""
    shorter = None if resize_shorter is None else (resize_shorter, resize_shorter)
    view = central_view(*image.shape[:2], Geometry(resize, shorter, crop, mirror=False), name)
    return apply_view(image, view, crop, np.asarray(mean, np.float32))


def write_image_lmdb(
    path: Path,
    images: Sequence[np.ndarray],
    labels: Sequence[int],
    class_names: Sequence[str] = (),
) -> Path:
    """Write `images` (H x W x 3 uint8 BGR, or H x W) as PNGs with `labels`; return `path`."""
    with ImageLmdbWriter(str(path), class_names) as writer:
        for image, label in zip(images, labels):
            encoded = cv2.imencode(".png", image)[1].tobytes()
            writer.add(encoded_datum(encoded, label, *image.shape[:2]), label)
    return path


def run_sjft(*arguments: object, status: int = 0, cwd: Path | None = None) -> str:
    """Run ``sjft`` in a process of its own, check its exit status, return both its outputs."""
    return run(*SJFT, *arguments, status=status, cwd=cwd, timeout_s=1800)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and weights that may lie beside the checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("needs the real images and weights in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def digit_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the images of `digits_run`."""
    folder = tmp_path_factory.mktemp("images")
    digits_run.draw_images(folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(digit_images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run folder of an undisturbed run of `digits_run`, and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = digits_run.write(folder, digits_run.experiment(digit_images))
    return folder / "run", run_sjft("run", path, "--out", folder / "run", cwd=REPO)


@pytest.fixture
def make_lmdb(tmp_path: Path) -> Callable[..., str]:
    """A function (name, count, classes) that writes an LMDB of drawn images; returns its path."""

    def make(name: str, count: int, classes: int = 3, seed: int = 0, **size: int) -> str:
        images = [draw_image(1000 * seed + i, **size) for i in range(count)]
        names = [f"class {c}" for c in range(classes)]
        labels = [i % classes for i in range(count)]
        return os.fspath(write_image_lmdb(tmp_path / name, images, labels, names))

    return make


@pytest.fixture
def opened() -> Iterator[list[BatchStream]]:
    """Streams put in here are closed after the test."""
    streams: list[BatchStream] = []
    yield streams
    for stream in streams:
        stream.close()
