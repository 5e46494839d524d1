"""The report of a run: in a browser at phone and desktop width; its parts one by one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from browser import look_at
from conftest import draw_image, run_sjft
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import read_levels
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.evaluation.protocol import Protocol
from sjft_tools.evaluation.scores_file import read_scores
from sjft_tools.experiment.environment import in_turn, note_start, read_starts
from sjft_tools.experiment.finished import sentence
from sjft_tools.experiment.page import Bar, Example, Page
from sjft_tools.experiment.pictures import picture_of_file, thumbnail
from sjft_tools.experiment.sections.hard_samples import hardest_images
from sjft_tools.experiment.sections.selection import dropped_words

SECTIONS = ["Accuracy", "Training", "Selected source images", "Hard samples"]
SECTIONS += ["Mistakes on the test images", "What was run"]


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(undisturbed: tuple[Path, str], width: int, tmp_path: Path) -> None:
    page = (undisturbed[0] / "report.html").read_text(encoding="utf-8")
    assert len(page) < 5_000_000
    found = look_at(page, width, tmp_path)
    assert found["screen"] == width
    assert found["page"] <= width
    assert found["outside"] == []
    assert found["images"] > 12 * 10
    assert found["broken"] == []
    assert found["loaded"] == []
    assert set(found["asked"]) <= {"/", "/page.html", "/favicon.ico"}
    assert found["scripts"] == 0
    assert found["sections"] == SECTIONS
    assert found["links"] == len(SECTIONS)
    assert found["smallest"] >= 11


def test_the_browser_sees_what_is_wrong(tmp_path: Path) -> None:
    page = """<!doctype html><body><h2>One</h2><p style="width: 700px; font-size: 5px">wide</p>
        <img alt="none" src="data:image/png;base64,AAAA"><img alt="far" src="/far.png">
        <nav><a href="#nowhere">x</a></nav><script>throw new Error("a fault")</script></body>"""
    found = look_at(page, 390, tmp_path)
    assert found["page"] > 390
    assert "wide" in found["outside"][0]
    assert found["broken"] == ["none", "far"]
    assert [name.rpartition("/")[2] for name in found["loaded"]] == ["far.png"]
    assert "/far.png" in found["asked"]
    assert found["scripts"] == 1
    assert found["links"] == 0
    assert found["smallest"] == 5


def cells(page: str, caption: str) -> list[list[str]]:
    """Return the words in every cell of the table with a caption, row by row."""
    table = re.search(rf'<p class="caption">{re.escape(caption)}.*?</table>', page, re.DOTALL)
    assert table is not None, caption
    rows = re.findall(r"<tr.*?</tr>", table[0], re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_figures_are_those_of_the_files(undisturbed: tuple[Path, str]) -> None:
    folder, _ = undisturbed
    page = (folder / "report.html").read_text(encoding="utf-8")
    target = ImageLmdb(str(folder / "target_train_lmdb"))
    source = ImageLmdb(str(folder / "source_lmdb"))
    neighbours = NeighbourLmdb(str(folder / "neighbors_lmdb"))
    accuracies = cells(page, "On 120 test images of the target, in %")
    selection = cells(page, "Distinct source images among the first K_i neighbours")
    histogram = cells(page, "Target images with each number of neighbours K_i")
    for number in (1, 2, 3):
        result = json.loads((folder / f"round_{number}" / "test.json").read_text())
        assert accuracies[number][1] == f"{100 * result['mean_class']:.2f}"
        levels = folder / f"round_{number - 1}" / "levels.json" if number > 1 else None
        sizes = 20 * read_levels(str(levels) if levels else None, target).levels
        rows = [neighbours.indices(i, size) for i, size in enumerate(sizes.tolist())]
        distinct = np.unique(np.concatenate(rows))
        assert selection[number][1] == str(len(distinct))
        assert selection[number][2] == f"{100 * len(distinct) / source.count:.2f}"
        assert selection[number][4] == str(len(np.unique(source.labels[distinct])))
        last = [neighbours.distances(i, size)[-1] for i, size in enumerate(sizes.tolist())]
        assert selection[number][7].startswith(f"{np.median(last):.3f} (")
        for row in histogram[1:]:
            assert int(row[number]) == np.count_nonzero(sizes == int(row[0]))
        assert sum(int(row[number]) for row in histogram[1:]) == target.count
    assert accuracies[4][:2] == ["the paper: selective joint", "88.1"]
    assert "fewer the network overfits" in page


def test_the_hardest_images_stand_with_their_neighbours(undisturbed: tuple[Path, str]) -> None:
    folder, _ = undisturbed
    page = (folder / "report.html").read_text(encoding="utf-8")
    scores = read_scores(str(folder / "round_2" / "training.npz"))
    moves = json.loads((folder / "round_2" / "moves.json").read_text())
    wrong = np.flatnonzero(scores.scores.argmax(1) != scores.labels)
    assert len(wrong) == moves["wrong"]
    own = scores.scores[np.arange(len(scores.labels)), scores.labels]
    expected = wrong[np.argsort(own[wrong], kind="stable")][:12].tolist()
    shown = re.findall(r'<div class="example">.*?</ol></div>', page, re.DOTALL)
    assert [int(re.findall(r"<p>image (\d+)</p>", each)[0]) for each in shown] == expected
    source = ImageLmdb(str(folder / "source_lmdb"))
    neighbours = NeighbourLmdb(str(folder / "neighbors_lmdb"))
    for i, each in zip(expected, shown):
        captions = re.findall(r'<li><img alt="" src="data:image/jpeg[^>]*>(.*?)</li>', each)
        nearest = source.labels[neighbours.indices(i, 10)]
        assert captions == [source.class_names[label] for label in nearest]


def test_what_was_run_is_told(undisturbed: tuple[Path, str]) -> None:
    folder, _ = undisturbed
    page = (folder / "report.html").read_text(encoding="utf-8")
    settings = dict(cells(page, "The experiment")[1:])
    assert settings["bank: options"] == "--resize 16"
    assert settings["neighbours: k"] == "60"
    assert settings["leaks"] == "no search"
    rounds = cells(page, "The rounds of the experiment")
    assert rounds[0][1:3] == ["max_iter", "base_lr"]
    assert rounds[1][1:3] == ["9", "0.05"]
    versions = dict(cells(page, "What there was at the start")[1:])
    assert versions["NumPy"] == np.__version__
    assert versions["OpenCV"] == cv2.__version__
    assert versions["Caffe"][0].isdigit()
    assert int(versions["cores"]) >= 1
    steps = cells(page, "22 steps, ")
    done = {path.name: json.loads(path.read_text()) for path in folder.glob("steps/*.done.json")}
    assert len(steps) == 1 + len(done)
    for name, seconds, _, made in steps[1:]:
        marker = done[f"{name}.done.json"]
        assert float(seconds.replace(",", "")) == marker["seconds"]
        assert made.split(", ") == [Path(path).name for path in marker["outputs"]]
    assert ["bins.npz", done["fit_bins.done.json"]["outputs"][str(folder / "bins.npz")][:19]] in (
        cells(page, "What came out")
    )


def test_starts_are_noted(tmp_path: Path) -> None:
    assert read_starts(str(tmp_path)) == []
    note_start(str(tmp_path))
    note_start(str(tmp_path))
    starts = read_starts(str(tmp_path))
    assert len(starts) == 2
    assert starts[0].time.endswith("+00:00")
    assert in_turn(start.environment for start in starts) == starts[0].environment
    changed = [{"NumPy": "1"}, {"NumPy": "2"}, {"NumPy": "2"}, {"NumPy": "1"}]
    assert in_turn(changed) == {"NumPy": "1, then 2, then 1"}


def test_what_a_round_leaves_out_is_told() -> None:
    reports = [
        {"min_source_per_class": 50, "k0": [{"dropped_classes": n, "dropped_images": images}]}
        for n, images in ((2, 1), (0, 0))
    ]
    assert dropped_words([1, 2], reports) == (
        "Classes with fewer than 50 selected images take no part in training "
        "(min_source_per_class): 1 image of 2 in round 1, 0 images of 0 in round 2."
    )
    assert dropped_words([2], reports[1:]) == ""


def test_the_hardest_are_in_order() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]])
    labels = np.array([0, 0, 0, 0, 0])
    # a tie counts as wrong; of the right ones the less certain comes first
    assert hardest_images(scores, labels, 9).tolist() == [2, 3, 4, 1, 0]
    assert hardest_images(scores, labels, 2).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Protocol("1", None, 256, (), 224, (1.0, 2, 3)), "Shorter side 256, centre 224 x 224."),
        (
            Protocol("10", 40, None, (), 32, (0.0, 0, 0)),
            "Warped to 40 x 40, corners and centre, and mirrored, 32 x 32.",
        ),
        (
            Protocol("dense", None, None, (256, 384), 0, (104.0, 117, 123)),
            "Whole images and their mirror images, shorter side 256, 384.",
        ),
    ],
)
def test_the_protocol_that_a_result_names(protocol: Protocol, words: str) -> None:
    named = json.loads(json.dumps({"deploy": "x", **protocol.as_json()}))
    assert Protocol.from_json(named) == protocol
    assert sentence(protocol.words()) == words


def test_thumbnails_keep_the_proportions_and_are_never_larger() -> None:
    assert thumbnail(draw_image(1, 200, 400), 100)[1:] == (100, 50)
    assert thumbnail(draw_image(1, 20, 30), 100)[1:] == (30, 20)


def test_photographs_become_jpegs_and_figures_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    cv2.imwrite(str(tmp_path / "noise.png"), rng.integers(0, 256, (200, 300, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((200, 300, 3), 255, np.uint8))
    assert picture_of_file(str(tmp_path / "noise.png")).uri.startswith("data:image/jpeg")
    assert picture_of_file(str(tmp_path / "flat.png")).uri.startswith("data:image/png")
    (tmp_path / "text.png").write_text("none")
    (tmp_path / "empty.png").touch()
    for name in ("text.png", "empty.png", "absent.png"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            picture_of_file(str(tmp_path / name))


def test_a_number_stays_with_its_per_cent_sign() -> None:
    page = Page("x", "y")
    picture = thumbnail(draw_image(0, 20, 20), 10)
    page.examples([Example(picture, "rose", ["taken for lily, 24 %"], [])])
    assert "<p>taken for lily, 24&nbsp;%</p>" in page.text()


def test_names_are_text_and_not_html() -> None:
    page = Page("<b>run</b>", "a & b")
    page.contents()
    page.heading("A <i>heading</i>")
    page.table("caption <", ("<", ">"), [("<script>", Bar("&", 0.25))])
    page.commands(["sjft run '<x>'"])
    text = page.text()
    for tag in ("<b>", "<i>", "<script>", "<x>"):
        assert tag not in text
    assert "--share:25.0%" in text
    assert "&lt;script&gt;" in text


def test_it_is_written_from_any_folder(undisturbed: tuple[Path, str]) -> None:
    page = undisturbed[0] / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert f"wrote {page}" in run_sjft("report", "run", cwd=page.parent.parent)
    assert page.read_bytes() == before
