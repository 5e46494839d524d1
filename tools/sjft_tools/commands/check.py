"""Test everything that training needs, before training: Caffe and its Python layers, and, given a
solver, that it, its nets and every LMDB named in them can be used and fit each other. One line per
check; under each that fails, what to do about it. Exit status 1 if any failed."""

from __future__ import annotations

import argparse

from sjft_tools.checks.environment import check_environment
from sjft_tools.checks.gpu import check_gpu
from sjft_tools.checks.report import Report
from sjft_tools.checks.solver import check_solver
from sjft_tools.command import integer_at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "solver",
        nargs="?",
        metavar="SOLVER.prototxt",
        help="solver whose nets and data to test; paths in it are seen from the current folder, as "
        "caffe sees them",
    )
    parser.add_argument(
        "--gpu",
        type=integer_at_least(0),
        metavar="N",
        help="compute a small net on GPU N too, with and without cuDNN, beside the CPU",
    )


def run(args: argparse.Namespace) -> None:
    """Make the checks. Leaves with status 1 if any failed."""
    report = Report()
    has_pycaffe = check_environment(report)
    if args.gpu is not None and has_pycaffe:
        check_gpu(report, args.gpu)
    elif args.gpu is not None:
        report.skip(f"GPU {args.gpu}", "needs pycaffe")
    if args.solver is not None and has_pycaffe:
        check_solver(report, args.solver)
    elif args.solver is not None:
        report.skip("solver", "needs pycaffe")
    if report.failures:
        raise SystemExit(1)
