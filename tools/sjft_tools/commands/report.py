"""Write the report of a finished 'sjft run' once more: one HTML file, which needs no network."""

from __future__ import annotations

import argparse
import os

from sjft_tools.experiment.runner import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folder", metavar="RUN_DIR", help="the run folder of 'sjft run'")


def run(args: argparse.Namespace) -> None:
    """Write it."""
    print(f"wrote {write_report(os.path.normpath(args.folder))}")
