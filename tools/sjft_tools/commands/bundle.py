"""Pack Caffe, Python, sjft and all that they need into one file, for a machine without network and
with another Python. Unpack it there in any folder: './run check', './run caffe train ...'. NVIDIA's
libraries are left out, as the machine's PyTorch has them."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator

from sjft_tools.atomic import new_file, refuse_existing
from sjft_tools.bundling.archive import check_suffix, write_archive
from sjft_tools.bundling.stage import stage
from sjft_tools.command import add_force

#: The folder in the archive.
NAME = "sjft-bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "output", metavar="OUT.tar.xz", help="also .tar.gz or .tar, quicker, larger"
    )
    parser.add_argument(
        "--without-opencv",
        action="store_true",
        help="leave OpenCV, the largest part, to the packages of the other machine's Python",
    )
    parser.add_argument(
        "--cuda-libraries",
        action="store_true",
        help="take cuBLAS, cuRAND, cuDNN and NCCL along, more than 1 GB",
    )
    add_force(parser)


@contextlib.contextmanager
def _work_folder(path: str) -> Iterator[str]:
    """Make the folder `path`, once more if a killed run left it; remove it afterwards."""
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run(args: argparse.Namespace) -> None:
    check_suffix(args.output)
    refuse_existing(args.output, args.force)
    with new_file(args.output, args.force) as path, _work_folder(path + ".folder") as folder:
        staged = stage(folder, not args.without_opencv, args.cuda_libraries)
        write_archive(folder, NAME, path, args.output)
    kind = f"needs {', '.join(staged.cuda)}" if staged.cuda else "for the CPU"
    print(
        f"{args.output}: {os.path.getsize(args.output) / 1e6:.1f} MB, {staged.files} files of"
        f" {staged.size / 1e6:.0f} MB; {kind}"
    )
