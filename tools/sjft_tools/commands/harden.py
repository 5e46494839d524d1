"""Give the target images that a trained net finds hard more neighbours in the next round.

A wrong image's level grows by sigma0, that of a right one whose entropy is at least delta by sigma1
(docs/method.md, section 6). An image of level l uses k0 * l neighbours and is visited l times per
epoch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import MAX_LEVEL, Levels, read_levels
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.evaluation.options import add_scoring, check_scoring, make_scorer
from sjft_tools.evaluation.outputs import scores_for
from sjft_tools.hardening import (
    DELTA_SHARE,
    Judgement,
    choose_delta,
    entropies,
    grown,
    judge,
    transitions,
)
from sjft_tools.json_file import write_json
from sjft_tools.levels_writer import write_levels
from sjft_tools.unfinished_outputs import unfinished_outputs

FORMAT = "sjft hardening 1"
_NO_LEVELS = "-"
_SIGMA0, _SIGMA1 = 2, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deploy", metavar="DEPLOY.prototxt", help="net with one square input")
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel file of the last round")
    parser.add_argument("target", metavar="TARGET_TRAIN_LMDB", help="the target's training images")
    parser.add_argument(
        "levels_in",
        metavar="LEVELS_IN",
        help=f"the levels of the last round, or {_NO_LEVELS} after the first one: all 1",
    )
    parser.add_argument("levels_out", metavar="LEVELS_OUT", help="the levels file to write")
    parser.add_argument(
        "--sigma0",
        type=integer_at_least(1),
        metavar="N",
        help=f"by how much a wrong image's level grows (default: {_SIGMA0})",
    )
    parser.add_argument(
        "--sigma1",
        type=integer_at_least(1),
        metavar="N",
        help=f"by how much an uncertain image's level grows, less than sigma0 (default: {_SIGMA1})",
    )
    parser.add_argument(
        "--most",
        type=integer_at_least(1),
        metavar="N",
        help=f"how far levels grow (default: {MAX_LEVEL})",
    )
    delta = parser.add_mutually_exclusive_group()
    delta.add_argument(
        "--delta",
        type=float,
        metavar="NATS",
        help="entropy from which a right image is uncertain (default: "
        f"{DELTA_SHARE} log(classes), a tenth of the greatest possible)",
    )
    delta.add_argument(
        "--delta-quantile",
        type=float,
        metavar="Q",
        help="this quantile, from 0 to 1, of all images' entropies instead",
    )
    parser.add_argument(
        "--k0",
        type=integer_at_least(1),
        help="let the number of neighbours grow instead of the level, from k0 times the level on: "
        "sigma0, sigma1 and most, which must be given, are neighbours then. The levels, and with "
        "them the visits per epoch, stay",
    )
    add_scoring(parser, "10: corners and centre, each mirrored too; softmax scores are averaged")
    parser.add_argument("--json", metavar="FILE", help="write there how many images moved where")
    add_force(parser)


def check(args: argparse.Namespace) -> None:
    """Raise InputError if options do not go together, as far as that is known without LEVELS_IN."""
    check_scoring(args)
    if args.delta is not None and not 0 <= args.delta < np.inf:
        raise InputError(f"--delta is {args.delta}, expected an entropy in nats from 0 on")
    if args.delta_quantile is not None and not 0 <= args.delta_quantile <= 1:
        raise InputError(f"--delta-quantile is {args.delta_quantile}, expected 0 to 1")
    if args.k0 is not None or args.levels_in == _NO_LEVELS:
        _steps(args, grows_neighbours=args.k0 is not None)


def run(args: argparse.Namespace) -> None:
    check(args)
    outputs = [path for path in (args.scores, args.json, args.levels_out) if path is not None]
    places = [Path(path).resolve() for path in (*outputs, args.levels_in)]
    if len(set(places)) < len(places):
        raise InputError("two of LEVELS_IN, LEVELS_OUT, --scores and --json are one file")
    left = unfinished_outputs(outputs, args.force)
    target = ImageLmdb(args.target, "target")
    levels = read_levels(None if args.levels_in == _NO_LEVELS else args.levels_in, target)
    reach, sigma0, sigma1, most = _growth(args, levels)
    net, protocol = make_scorer(args, target)
    found = scores_for(args, target, net, protocol, left)
    scores = found.scores
    delta = choose_delta(entropies(scores), net.classes, args.delta, args.delta_quantile)
    judgement = judge(scores, target.labels, delta)
    after = grown(reach, judgement, sigma0, sigma1, most)
    print(f"view          {protocol.words()}")
    print(
        _table(
            judgement, delta, reach, after, "K_i" if _grows_neighbours(args, levels) else "level"
        )
    )
    if args.json is not None:
        content = {
            "format": FORMAT,
            "target_fingerprint": target.fingerprint,
            "models": found.models,
            "delta": delta,
            "sigma0": sigma0,
            "sigma1": sigma1,
            "most": most,
            **{name: int(flags.sum()) for name, flags in judgement._asdict().items()},
            "moved": int((after != reach).sum()),
            "transitions": transitions(reach, after),
        }
        write_json(args.json, content, args.force, left)
    if _grows_neighbours(args, levels):
        write_levels(args.levels_out, levels.levels, target, args.force, after)
    else:
        write_levels(args.levels_out, after, target, args.force)


def _grows_neighbours(args: argparse.Namespace, levels: Levels) -> bool:
    return args.k0 is not None or levels.neighbours is not None


def _growth(args: argparse.Namespace, levels: Levels) -> tuple[np.ndarray, int, int, int]:
    """Return what grows, int64 (N,), by how much of either kind, and how far.

    Raises InputError if the numbers do not go together.
    """
    grows_neighbours = _grows_neighbours(args, levels)
    steps = _steps(args, grows_neighbours)
    if not grows_neighbours:
        return levels.levels, *steps
    if args.k0 is not None and levels.neighbours is not None:
        raise InputError(
            f"{args.levels_in} states every image's number of neighbours already: expected no "
            f"--k0, which is where they start"
        )
    reach = levels.levels * args.k0 if levels.neighbours is None else levels.neighbours
    return reach, *steps


def _steps(args: argparse.Namespace, grows_neighbours: bool) -> tuple[int, int, int]:
    """Return sigma0, sigma1 and most. Raises InputError if they do not go together."""
    given = [args.sigma0, args.sigma1, args.most]
    if grows_neighbours:
        if None in given:
            raise InputError(
                "numbers of neighbours grow, by --k0 or since LEVELS_IN states them: expected "
                "--sigma0, --sigma1 and --most, in neighbours"
            )
    else:
        defaults = (_SIGMA0, _SIGMA1, MAX_LEVEL)
        given = [d if g is None else g for g, d in zip(given, defaults)]
        if given[2] > MAX_LEVEL:
            raise InputError(f"--most is {given[2]}, expected levels up to {MAX_LEVEL}")
    sigma0, sigma1, most = given
    if sigma0 <= sigma1:
        raise InputError(f"--sigma0 is {sigma0} and --sigma1 {sigma1}: expected sigma0 > sigma1")
    return sigma0, sigma1, most


def _table(
    judgement: Judgement, delta: float, before: np.ndarray, after: np.ndarray, kind: str
) -> str:
    """Return how many images are hard, and how many moved where, as lines of text."""
    wrong, uncertain, certain = (int(flags.sum()) for flags in judgement)
    stuck = int(((judgement.wrong | judgement.uncertain) & (after == before)).sum())
    lines = [
        f"images        {len(before)}",
        f"wrong         {wrong}",
        f"uncertain     {uncertain}, right with an entropy of at least {delta:.4g} nats",
        f"certain       {certain}",
        f"moved         {int((after != before).sum())}"
        + (f"; {stuck} more would, but are as far as they may go" if stuck else ""),
        "",
        f"{kind + ' before':>14}{'after':>10}{'images':>10}",
        *(f"{a:>14}{b:>10}{n:>10}" for a, b, n in transitions(before, after)),
    ]
    return "\n".join(lines)
