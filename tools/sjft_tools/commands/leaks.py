"""Find the source images that show the same picture as an image of the target's test set."""

from __future__ import annotations

import argparse
import sys

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.atomic import new_file, refuse_outputs
from sjft_tools.command import add_force
from sjft_tools.exclusion import write_exclusions
from sjft_tools.json_file import write_json
from sjft_tools.leaks import findings
from sjft_tools.leaks.descriptors import NearDescriptor, near_descriptors
from sjft_tools.leaks.kept import KeptFindings, keeping_findings
from sjft_tools.leaks.search import TestImages
from sjft_tools.leaks.sheet import MOST_PAIRS, draw_sheet

_MOST_NAMED = 20  # bad images
_EXIT_LEAK = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test", metavar="TARGET_TEST_LMDB", help="the target's test images")
    parser.add_argument("source", metavar="SOURCE_LMDB", help="the images that training may use")
    parser.add_argument(
        "--threshold",
        type=_share,
        default=0.85,
        metavar="X",
        help="report pairs whose likeness, at most 1, is at least this",
    )
    parser.add_argument(
        "--neighbours",
        metavar="NEIGHBORS_LMDB",
        help="what 'sjft retrieve' found for the test images in this source: reports those that "
        "are conspicuously near, too",
    )
    parser.add_argument(
        "--ratio",
        type=_share,
        default=0.4,
        metavar="X",
        help="with --neighbours: report those nearer than X times the 20th neighbour",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write the source images found, for 'sjft retrieve --exclude'"
    )
    parser.add_argument("--json", metavar="FILE", help="write all pairs there")
    parser.add_argument("--sheet", metavar="FILE.png", help="draw the pairs side by side")
    parser.add_argument(
        "--fail-on-leak", action="store_true", help="exit with status 1 if a pair is found"
    )
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    outputs = [path for path in (args.out, args.json, args.sheet) if path is not None]
    refuse_outputs(outputs, force=True)  # which are there already, keeping_findings() asks
    if args.sheet is not None and not args.sheet.lower().endswith(".png"):
        raise InputError(f"the output {args.sheet} must end in .png")
    tests = ImageLmdb(args.test, "test")
    source = ImageLmdb(args.source, "source")
    if tests.fingerprint == source.fingerprint:
        raise InputError(
            f"{args.test} and {args.source} hold the same images: expected the target's test set "
            f"and another set"
        )
    near: list[NearDescriptor] = []
    if args.neighbours is not None:
        near = near_descriptors(NeighbourLmdb(args.neighbours), tests, source, args.ratio)
    with keeping_findings(outputs, tests, source, args.threshold, args.force) as kept:
        found = _compare(args, tests, source, near, kept)
    if found and args.fail_on_leak:
        raise SystemExit(_EXIT_LEAK)


def _compare(
    args: argparse.Namespace,
    tests: ImageLmdb,
    source: ImageLmdb,
    near: list[NearDescriptor],
    kept: KeptFindings,
) -> list[findings.Finding]:
    """Compare the images, write and print what is found, and return it."""
    bad_tests, bad_sources = _Unreadable(), _Unreadable()
    shown = TestImages(tests, bad_tests.note)
    if shown.uniform:
        print(
            f"{len(shown.uniform)} test images are nearly uniform, the first is "
            f"{tests.name(shown.uniform[0])}: only identical ones are looked for",
            file=sys.stderr,
        )
    found = findings.findings(kept.find_pairs(shown, bad_sources.note), near)
    kept.begin_writing()
    _write(args, found, tests, source, bad_tests, bad_sources, shown.uniform)
    for bad, lmdb in ((bad_tests, tests), (bad_sources, source)):
        if bad.positions:
            print(f"{len(bad.positions)} images of {lmdb.path} cannot be decoded: not compared")
    if found:
        print(findings.table(found, tests, source))
    print(findings.summary(found, tests, source))
    if found and args.out is None:
        print("--out FILE writes these source images down for 'sjft retrieve --exclude FILE'")
    return found


class _Unreadable:
    """Images that cannot be decoded: their positions, the first named on standard error."""

    def __init__(self) -> None:
        self.positions: list[int] = []

    def note(self, position: int, sentence: str) -> None:
        """Take in one."""
        self.positions.append(position)
        if len(self.positions) <= _MOST_NAMED:
            print(f"\nnot compared: {sentence}", file=sys.stderr)


def _write(
    args: argparse.Namespace,
    found: list[findings.Finding],
    tests: ImageLmdb,
    source: ImageLmdb,
    bad_tests: _Unreadable,
    bad_sources: _Unreadable,
    uniform: list[int],
) -> None:
    """Write the outputs that were asked for, in place of those that may be replaced."""
    if args.out is not None:
        why = findings.reasons(found, tests)
        write_exclusions(args.out, source, list(why), list(why.values()), force=True)
        print(f"wrote {args.out}: {len(why)} images for 'sjft retrieve --exclude' to leave out")
    if args.json is not None:
        content = {
            "format": findings.FORMAT,
            "test_lmdb": args.test,
            "test_fingerprint": tests.fingerprint,
            "test_images": tests.count,
            "source_lmdb": args.source,
            "source_fingerprint": source.fingerprint,
            "source_images": source.count,
            "threshold": args.threshold,
            "neighbours": args.neighbours,
            "ratio": args.ratio,
            "unreadable_test": bad_tests.positions,
            "unreadable_source": bad_sources.positions,
            "uniform_test": uniform,
            **findings.as_json(found, tests, source),
        }
        write_json(args.json, content, force=True)
    if args.sheet is not None and found:
        with new_file(args.sheet, force=True) as partial:
            draw_sheet(found, tests, source, partial)
        print(f"drew {min(len(found), MOST_PAIRS)} of {len(found)} pairs: {args.sheet}")
    elif args.sheet is not None:
        print(f"{args.sheet} was not written: there is no pair to draw")


def _share(text: str) -> float:
    """Parse a number above 0 and at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, at most 1, got {text!r}")
    return value
