"""``sjft fit-bins`` and ``sjft retrieve`` as users run them."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import draw_image, run_sjft, write_image_lmdb
from processes import killed_at_last, read_until, stopping
from retrieval_runs import SHARD
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.banks import make_bank
from sjft_tools.banks.alexnet_weights import SHAPES
from sjft_tools.banks.bank import Bank, warp
from sjft_tools.bins import Bins, BinsInfo, load_bins
from sjft_tools.describe import Describer
from sjft_tools.distance import EPS
from sjft_tools.exclusion import write_exclusions
from sjft_tools.histogram import Histogrammer
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum


def literal_histograms(lmdb: ImageLmdb, bank: Bank, bins: Bins) -> np.ndarray:
    """Section 2, step 3, one response after the other: N x D x B shares, float64."""
    result = np.zeros((lmdb.count, *bins.edges.shape))
    for n in range(lmdb.count):
        channel = 0
        for layer in bank.responses(warp(lmdb.image(n), bank)[None]):
            for values in layer[0]:
                edges = bins.edges[channel]
                for value in values:
                    if value <= bins.minimum[channel]:
                        chosen = 0
                    elif value >= bins.maximum[channel]:
                        chosen = len(edges) - 1
                    else:
                        chosen = next(b for b, edge in enumerate(edges) if edge > value)
                    result[n, channel, chosen] += 1 / len(values)
                channel += 1
    return result


def direct_distances(p: np.ndarray, q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Section 3 in plain float64 numpy: p D x B against q N x D x B, weights w_h (D,)."""
    terms = (p - q) * (np.log(p + EPS) - np.log(q + EPS))
    return (terms.sum(axis=2) * weights / 2).sum(axis=1)


def assert_equals_brute_force(
    found: NeighbourLmdb, p: np.ndarray, q: np.ndarray, weights: np.ndarray
) -> None:
    for row, descriptor in enumerate(p):
        distances = direct_distances(descriptor, q, weights)
        order = np.lexsort((np.arange(len(q)), distances))[: found.k]
        assert found.indices(row).tolist() == order.tolist()
        assert np.allclose(found.distances(row), distances[order], rtol=1e-6, atol=1e-9)


def test_gabor_neighbours_equal_brute_force(tmp_path: Path) -> None:
    targets = [draw_image(seed, 20, 30) for seed in range(4)]
    sources = [draw_image(seed, 24, 24) for seed in range(100, 140)]
    sources[31] = sources[7]
    sources[2] = targets[3]
    target = write_image_lmdb(tmp_path / "target", targets, [0, 1, 0, 1])
    source = write_image_lmdb(tmp_path / "source", sources, [5] * 40)
    bins_file, found = tmp_path / "bins.npz", tmp_path / "neighbours"
    output = run_sjft(
        "fit-bins", target, bins_file, "--bank", "gabor", "--bins", 12, "--resize", 16
    )
    assert "warped to 16 x 16" in output
    assert "12 bins for each of 48 channels" in output
    output = run_sjft("retrieve", target, source, found, "--bins-file", bins_file, "--k", 40)
    assert "40/40" in output
    assert "40 neighbours for each of 4 images" in output

    bank, bins = make_bank("gabor", resize=16), load_bins(str(bins_file))
    lmdbs = ImageLmdb(str(target)), ImageLmdb(str(source))
    neighbours = NeighbourLmdb(str(found))
    neighbours.check_matches(*lmdbs)
    assert neighbours.indices(3)[0] == 2
    assert neighbours.distances(3)[0] == 0
    for row in range(4):
        order = neighbours.indices(row).tolist()
        assert order.index(31) == order.index(7) + 1
    p, q = (literal_histograms(lmdb, bank, bins) for lmdb in lmdbs)
    assert_equals_brute_force(neighbours, p, q, np.full(48, 1 / 48))
    expected = {
        "bank": "gabor",
        "resize": 16,
        "bins": 12,
        "bins_checksum": bins.checksum(),
        "weights_checksum": "",
    }
    assert {name: neighbours.info[name] for name in expected} == expected


def test_alexnet_neighbours_of_real_images(shared_data: Path, tmp_path: Path) -> None:
    """Exact, with duplicates among the sources."""
    weights = str(shared_data / "alexnet_conv12.npz")
    files = sorted((shared_data / "target_oxford17_flowers" / "images").iterdir())[::8]
    records = [encoded_datum(file.read_bytes(), 0) for file in files]
    with ImageLmdbWriter(str(tmp_path / "target")) as writer:
        for record in records[:10]:
            writer.add(record, 0)
    with ImageLmdbWriter(str(tmp_path / "source")) as writer:
        for record in records[5:70] + records[7:10]:
            writer.add(record, 0)
    target, source = ImageLmdb(str(tmp_path / "target")), ImageLmdb(str(tmp_path / "source"))
    bins_file, found = tmp_path / "bins.npz", tmp_path / "neighbours"
    run_sjft("fit-bins", target.path, bins_file, "--weights", weights)
    run_sjft(
        *("retrieve", target.path, source.path, found, "--bins-file", bins_file),
        *("--k", 60, "--weights", weights),
    )

    bank, bins = make_bank("alexnet", weights), load_bins(str(bins_file))
    describer = Describer(bank, Histogrammer(bins))
    p, q = (
        np.concatenate([some.counts for some in describer.stream(lmdb, None, "test")])
        for lmdb in (target, source)
    )
    pixels = np.repeat([54 * 54, 26 * 26], [9600, 25600])
    shares = [(counts / pixels).reshape(-1, 352, 100) for counts in (p, q)]
    channel_weights = np.repeat([0.5 / 96, 0.5 / 256], [96, 256])
    assert_equals_brute_force(NeighbourLmdb(str(found)), *shares, channel_weights)


REFUSALS = {
    "k": ("{target} {source} {out} --bins-file {bins} --k 13", "--k 13 is larger than the source"),
    "no k": ("{target} {source} {out} --bins-file {bins} --k 0", "expected an integer >= 1"),
    "swapped": (
        "{source} {target} {out} --bins-file {bins} --k 2",
        "target and source are swapped",
    ),
    "another target": (
        "{other} {source} {out} --bins-file {bins} --k 2",
        "was fitted on other images than those of the target LMDB",
    ),
    "another bank": (
        "{target} {source} {out} --bins-file {bins} --k 2 --weights {weights}",
        "holds bins of the gabor bank, which has no learnt weights",
    ),
    "weights missing": (
        "{target} {source} {out} --bins-file {alexnet_bins} --k 2",
        "holds bins of the alexnet bank, which needs --weights",
    ),
    "other weights": (
        "{target} {source} {out} --bins-file {alexnet_bins} --k 2 --weights {weights}",
        "was fitted with other weights than those given",
    ),
    "not bins": (
        "{target} {source} {out} --bins-file {weights} --k 2",
        "is not a bins file that 'sjft fit-bins' wrote",
    ),
    "no bins": ("{target} {source} {out} --bins-file none.npz --k 2", "none.npz does not exist"),
    "no target": ("none {source} {out} --bins-file {bins} --k 2", "the target LMDB none"),
    "bad target": (
        "{broken} {source} {out} --bins-file {broken_bins} --k 2",
        "record 5 (key 0000000005) of {broken} cannot be decoded",
    ),
    "part": ("{target} {source} {out} --bins-file {bins} --k 2 --shard 4/3", "I from 1 to N"),
    "all excluded": (
        "{target} {source} {out} --bins-file {bins} --k 2 --exclude {exclusions}",
        "of the 12 images of {source}, {exclusions} excludes 11",
    ),
    "scheduler": (
        "{target} {source} {out} --bins-file {bins} --k 2 --scheduler nonsense://x",
        "no Dask scheduler answers at nonsense://x",
    ),
    "work": (
        "{target} {source} {out} --bins-file {bins} --k 2 --work {target}",
        "expected an empty folder, or one that the same command made",
    ),
    "work file": (
        "{target} {source} {out} --bins-file {bins} --k 2 --work {bins}",
        "is not a folder: expected nothing there, or another --work",
    ),
    "exists": ("{target} {source} {other} --bins-file {bins} --k 2", "exists: give --force"),
    "exists, a file": (
        "{target} {source} {bins} --bins-file {bins} --k 2",
        "exists and is not a folder: expected another name",
    ),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small LMDBs, Gabor bins, AlexNet weights, bins that claim AlexNet with other weights."""
    folder = tmp_path_factory.mktemp("refusals")
    names = ("target", "source", "other", "broken", "bins.npz", "alexnet_bins.npz", "weights.npz")
    more = ("out", "broken_bins.npz", "exclusions")
    found = {name.split(".")[0]: folder / name for name in (*names, *more)}
    for seed, name in enumerate(names[:3]):
        images = [draw_image(100 * seed + i) for i in range(12)]
        write_image_lmdb(found[name], images, [0] * 12)
    with ImageLmdbWriter(str(found["broken"])) as writer:
        for i in range(12):
            png = cv2.imencode(".png", draw_image(i))[1].tobytes()
            writer.add(encoded_datum(png if i != 5 else b"no image", 0), 0)
    run_sjft("fit-bins", found["target"], found["bins"], "--bank", "gabor", "--resize", 8)
    bins = load_bins(str(found["bins"]))
    fingerprint = ImageLmdb(str(found["broken"])).fingerprint
    broken_info = replace(bins.info, target_fingerprint=fingerprint)
    replace(bins, info=broken_info).save(str(found["broken_bins"]))
    source = ImageLmdb(str(found["source"]))
    write_exclusions(str(found["exclusions"]), source, range(1, 12), ["a test"] * 11)
    np.savez(found["weights"], **{name: np.ones(shape) for name, shape in SHAPES.items()})
    info = BinsInfo("alexnet", 256, "sha256:0", ImageLmdb(str(found["target"])).fingerprint)
    limits = np.zeros(352, np.float32), np.full(352, 3, np.float32)
    Bins(info, np.tile([1.0, 2.0, 3.0], (352, 1)), *limits).save(str(found["alexnet_bins"]))
    return found


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_of_retrieve(case: str, places: dict[str, Path]) -> None:
    command, message = REFUSALS[case]
    before = sorted(path.name for path in places["out"].parent.iterdir())
    output = run_sjft("retrieve", *command.format(**places).split(), status=2)
    assert "Traceback" not in output
    assert message.format(**places) in output.splitlines()[-1]
    assert sorted(path.name for path in places["out"].parent.iterdir()) == before


def test_refusals_of_fit_bins(places: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "bins.npz"
    cases = {
        "the alexnet bank needs --weights": (places["target"], out),
        "has no learnt weights": (
            *(places["target"], out, "--bank", "gabor", "--weights", places["weights"]),
        ),
        "invalid choice: 'gabour'": (places["target"], out, "--bank", "gabour"),
        "expected an integer >= 2, got '1'": (
            *(places["target"], out, "--bank", "gabor", "--bins", 1),
        ),
        "record 5 (key 0000000005)": (places["broken"], out, "--bank", "gabor"),
        "exists: give --force": (places["target"], places["bins"], "--bank", "gabor"),
        "the target LMDB": (tmp_path / "none", out, "--bank", "gabor"),
    }
    for message, arguments in cases.items():
        output = run_sjft("fit-bins", *arguments, status=2)
        assert "Traceback" not in output
        assert message in output.splitlines()[-1]
        assert not list(tmp_path.iterdir())


def test_force_replaces_and_repeats(places: dict[str, Path], tmp_path: Path) -> None:
    arguments = ["retrieve", places["target"], places["source"], tmp_path / "out"]
    arguments += ["--bins-file", places["bins"], "--k", 3]
    run_sjft(*arguments)
    first = (tmp_path / "out" / "sjft.json").read_bytes()
    run_sjft(*arguments, status=2)
    run_sjft(*arguments, "--force")
    assert (tmp_path / "out" / "sjft.json").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_no_output_and_the_next_one_succeeds(
    sent: signal.Signals, places: dict[str, Path], tmp_path: Path
) -> None:
    source = write_image_lmdb(tmp_path / "many", [draw_image(i) for i in range(1200)], [0] * 1200)
    out = tmp_path / "out"
    words = ["retrieve", places["target"], source, out, "--bins-file", places["bins"], "--k", 3]
    command = [*stopping(SHARD), *map(str, words)]
    with killed_at_last(subprocess.Popen(command, stderr=subprocess.PIPE)) as process:
        read_until(process.stderr, b"sources:")
        process.send_signal(sent)
        process.send_signal(signal.SIGCONT)  # had it come to its first shard, it would be stopped
        printed = process.stderr.read()
    assert process.returncode == (-9 if sent == signal.SIGKILL else 130)
    assert not out.exists()
    if sent != signal.SIGKILL:
        assert b"out.work: the same command goes on from there" in printed
        assert b"interrupted; nothing was left half-written" in printed
        assert b"Traceback" not in printed
    run_sjft(*words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "out"]
    assert NeighbourLmdb(str(out)).count == 12
