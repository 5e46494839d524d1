"""``sjft fuse``, and the accuracies, intervals, tables, pictures that it shares with evaluate."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from conftest import draw_image, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft_tools.cli import main
from sjft_tools.evaluation.accuracy import accuracy
from sjft_tools.evaluation.bootstrap import intervals
from sjft_tools.evaluation.mistakes import (
    confusion_matrix,
    most_confident_mistakes,
    predictions,
)
from sjft_tools.evaluation.result import Result
from sjft_tools.evaluation.scores_file import Scores, fuse, read_scores, scores_of, write_scores
from sjft_tools.gallery import TILE, fitted

IMAGES, CLASSES = 60, 5
NAMES = ["rose", "tulip", "a$b$", "a class with a very long name indeed", "Gänseblümchen"]


class World(NamedTuple):
    folder: Path
    images: ImageLmdb
    files: list[Path]
    parts: list[np.ndarray]


def model(number: int) -> dict:
    return {"weights": f"w{number}.caffemodel", "weights_checksum": f"sha256:{number}"}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """Three scores files of one LMDB that has no image of the last class."""
    folder = tmp_path_factory.mktemp("fuse")
    rng = np.random.default_rng(2)
    labels = rng.integers(0, CLASSES - 1, IMAGES)
    drawn = [draw_image(i, 32, 32) for i in range(IMAGES)]
    images = ImageLmdb(str(write_image_lmdb(folder / "test", drawn, labels.tolist(), NAMES)))
    files, parts = [], []
    for number in range(3):
        raw = rng.random((IMAGES, CLASSES)) + 0.4 * np.eye(CLASSES)[labels]
        parts.append((raw / raw.sum(axis=1, keepdims=True)).astype(np.float32))
        files.append(folder / f"{number}.npz")
        write_scores(str(files[-1]), scores_of(images, parts[-1], [model(number)]))
    return World(folder, images, files, parts)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["fuse", *map(str, arguments)])
    assert ended.value.code == 2
    return capsys.readouterr().err.split("sjft fuse: error: ")[1]


def test_the_mean_of_three_models(world, tmp_path, capsys):
    out = tmp_path / "fused.npz"
    main(["fuse", *map(str, world.files), "--scores", str(out), "--json", str(tmp_path / "r.json")])
    expected = np.mean(world.parts, axis=0, dtype=np.float64)
    fused = read_scores(str(out))
    np.testing.assert_allclose(fused.scores, expected, atol=1e-7)
    assert fused.models == [model(number) for number in range(3)]
    assert fused.fingerprint == world.images.fingerprint and fused.class_names == NAMES
    np.testing.assert_array_equal(fused.labels, world.images.labels)
    top1 = (expected.argmax(axis=1) == world.images.labels).mean()
    assert max(accuracy(p, world.images.labels).top1 for p in world.parts) < top1 < 1
    printed = capsys.readouterr().out
    assert "models        3" in printed and f"top-1         {100 * top1:6.2f} %" in printed
    assert json.loads((tmp_path / "r.json").read_text())["top1"] == top1


def test_fused_files_are_fused_by_the_number_of_their_models(world, tmp_path):
    pair = tmp_path / "pair.npz"
    main(["fuse", str(world.files[0]), str(world.files[1]), "--scores", str(pair)])
    in_two_steps = fuse([str(pair), str(world.files[2])])
    at_once = fuse([str(file) for file in world.files])
    np.testing.assert_allclose(in_two_steps.scores, at_once.scores, atol=1e-7)
    assert in_two_steps.models == at_once.models


def test_equal_scores_make_equal_files(world, tmp_path):
    write_scores(str(tmp_path / "again.npz"), read_scores(str(world.files[0])))
    assert (tmp_path / "again.npz").read_bytes() == world.files[0].read_bytes()


def test_files_that_do_not_fit_each_other(world, tmp_path, capsys):
    first = world.files[0]
    order = np.random.default_rng(1).permutation(IMAGES).tolist()
    shuffled = write_image_lmdb(
        tmp_path / "shuffled",
        [draw_image(i, 32, 32) for i in order],
        [int(world.images.labels[i]) for i in order],
    )
    other = tmp_path / "other.npz"
    write_scores(str(other), scores_of(ImageLmdb(str(shuffled)), world.parts[1], [model(1)]))
    message = refused(capsys, first, other)
    assert f"{other} holds scores of other images than {first}" in message
    fewer = tmp_path / "fewer.npz"
    write_scores(str(fewer), scores_of(world.images, world.parts[1][:, :4], [model(1)]))
    message = refused(capsys, first, fewer)
    assert f"{fewer} holds scores of 4 classes and {first} of 5" in message
    message = refused(capsys, first, world.files[1], first)
    assert "holds the scores of w0.caffemodel once more" in message


def test_one_file_is_measured_as_it_is(world, tmp_path, capsys):
    main(["fuse", str(world.files[0]), "--json", str(tmp_path / "result.json")])
    expected = accuracy(world.parts[0], world.images.labels)
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["top1"], result["mean_class"]) == (expected.top1, expected.mean_class)
    assert "models        1" in capsys.readouterr().out


def test_files_that_are_no_scores_files(world, tmp_path, capsys):
    first = world.files[0]
    assert "does not exist" in refused(capsys, first, tmp_path / "no.npz")
    (tmp_path / "cut.npz").write_bytes(first.read_bytes()[:-40])
    assert "cannot be read as a scores file" in refused(capsys, first, tmp_path / "cut.npz")
    (tmp_path / "text").write_text("top-1 0.9")
    message = refused(capsys, first, tmp_path / "text")
    assert "text cannot be read as a scores file: it is no .npz file" in message
    np.savez(tmp_path / "bins.npz", info='{"format": "sjft bins 1"}', scores=[1], labels=[1])
    message = refused(capsys, first, tmp_path / "bins.npz")
    assert "is not a scores file: format 'sjft bins 1', expected 'sjft scores 1'" in message
    spoilt = np.where(np.arange(CLASSES) == 2, np.nan, world.parts[0]).astype(np.float32)
    write_scores(str(tmp_path / "nan.npz"), scores_of(world.images, spoilt, [model(7)]))
    assert "holds scores that are not finite" in refused(capsys, first, tmp_path / "nan.npz")


def test_outputs_are_refused_before_anything_is_read(world, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    for option in ("--scores", "--json", "--details"):
        message = refused(capsys, "no.npz", "no.npz", option, out)
        assert f"the output {out} exists: give --force to replace it" in message
    message = refused(capsys, *world.files, "--scores", out / "a", "--json", out / "a")
    assert "two outputs have one name" in message
    assert os.listdir(out) == []


# ---- details


def test_details(world, tmp_path):
    folder = tmp_path / "details"
    main(["fuse", *map(str, world.files), "--details", str(folder)])
    assert sorted(os.listdir(folder)) == [
        "confusion.csv",
        "confusion.png",
        "mistakes.png",
        "per_class.csv",
    ]
    scores = np.mean(world.parts, axis=0)
    best, labels = scores.argmax(axis=1), world.images.labels
    with open(folder / "confusion.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["is \\ taken for", *NAMES] and [row[0] for row in rows[1:]] == NAMES
    for i in range(CLASSES):
        counts = [int(((labels == i) & (best == j)).sum()) for j in range(CLASSES)]
        assert [int(cell) for cell in rows[i + 1][1:]] == counts
    with open(folder / "per_class.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == NAMES[:4]
    for i, row in enumerate(table):
        assert int(row["images"]) == (labels == i).sum()
        assert float(row["top1"]) == pytest.approx((best[labels == i] == i).mean(), abs=1e-6)
        assert float(row["top5"]) == 1
        wrong = best[(labels == i) & (best != i)]
        if len(wrong):
            counts = np.bincount(wrong, minlength=CLASSES)
            assert row["taken_for"] == NAMES[int(counts.argmax())]
            assert int(row["times"]) == counts.max()
        else:
            assert (row["taken_for"], row["times"]) == ("", "0")
    sheet = cv2.imread(str(folder / "mistakes.png"))
    wrong = np.flatnonzero(best != labels)
    surest = wrong[np.argsort(-scores[wrong, best[wrong]])]
    for place, i in enumerate(surest[:6].tolist()):
        left = 12 + place * (TILE + 12)
        shown = sheet[26 : 26 + TILE, left : left + TILE]
        np.testing.assert_array_equal(shown, fitted(world.images.image(i)))


def test_a_net_without_mistakes_has_no_sheet_of_them(world, tmp_path):
    right = np.eye(CLASSES, dtype=np.float32)[world.images.labels]
    for number in (1, 2):
        file = str(tmp_path / f"{number}.npz")
        write_scores(file, scores_of(world.images, right, [model(number)]))
    files = [str(tmp_path / "1.npz"), str(tmp_path / "2.npz")]
    main(["fuse", *files, "--details", str(tmp_path / "details")])
    names = sorted(os.listdir(tmp_path / "details"))
    assert names == ["confusion.csv", "confusion.png", "per_class.csv"]


def test_details_of_images_that_moved_or_are_others(world, tmp_path, capsys):
    write_image_lmdb(tmp_path / "other", [draw_image(1)], [0])
    moved = []
    for number in range(2):
        scores = read_scores(str(world.files[number]))._replace(path=str(tmp_path / "gone"))
        write_scores(str(tmp_path / f"{number}.npz"), scores)
        moved.append(tmp_path / f"{number}.npz")
    details = ("--details", tmp_path / "details")
    message = refused(capsys, *moved, *details)
    assert "does not exist" in message and "name the LMDB of the scores by --test" in message
    message = refused(capsys, *moved, *details, "--test", tmp_path / "other")
    assert "the scores are of other images than those in" in message
    assert not (tmp_path / "details").exists()
    main(["fuse", *map(str, (*moved, *details)), "--test", world.images.path])
    assert (tmp_path / "details" / "mistakes.png").exists()


# ---- pure functions


def test_predictions_and_mistakes_by_hand():
    scores = np.array([[0.5, 0.5, 0], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]])
    labels = np.array([0, 2, 0, 1])
    predicted = predictions(scores, labels)
    assert predicted.tolist() == [1, 2, 2, 0]  # the first one's tie counts against the net
    assert confusion_matrix(predicted, labels, 3).tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert most_confident_mistakes(scores, predicted, labels, 2).tolist() == [3, 0]
    assert most_confident_mistakes(scores, predicted, labels, 9).tolist() == [3, 0, 2]


def test_intervals_agree_with_the_binomial_distribution():
    """Of a share, the bootstrap is a binomial draw: its quantiles are known."""
    from scipy.stats import binom

    rng = np.random.default_rng(4)
    labels = rng.integers(0, 10, 400)
    scores = rng.random((400, 10)) + 0.5 * np.eye(10)[labels]
    found, point = intervals(scores, labels), accuracy(scores, labels)
    for share, ends in ((point.top1, found.top1), (point.top5, found.top5)):
        expected = binom.ppf([0.025, 0.975], 400, share) / 400
        np.testing.assert_allclose(ends, expected, atol=0.006)
    assert found.mean_class[0] < point.mean_class < found.mean_class[1]
    assert found == intervals(scores, labels)


def test_intervals_of_certain_results():
    labels = np.array([0, 1, 1])
    assert intervals(np.eye(2)[labels], labels).mean_class == (1, 1)
    assert intervals(np.eye(2)[1 - labels], labels).top1 == (0, 0)


def test_the_result_in_words():
    scores = Scores(np.eye(3, dtype=np.float32), np.array([0, 1, 1]), [], "lmdb", "sha256:0", [])
    lines = Result(scores).text().splitlines()
    assert lines[:2] == ["images        3", "classes       3, 2 of them with images"]
    assert lines[2].startswith("top-1          66.67 %   95 % interval ")
    assert lines[4].startswith("mean class     75.00 %   95 % interval ")
