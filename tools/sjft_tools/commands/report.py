"""Write the report of a finished 'sjft run' once more: one HTML file, which needs no network."""

from __future__ import annotations

import argparse
import os

from sjft_tools.experiment.run_folder import begun_in, spelled
from sjft_tools.experiment.runner import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN_DIR", help="the run folder of 'sjft run'")


def run(args: argparse.Namespace) -> None:
    base = begun_in(args.folder)
    folder = spelled(args.folder, base)
    os.chdir(base)  # the paths of the run are seen from there
    print(f"wrote {os.path.abspath(write_report(folder))}")
