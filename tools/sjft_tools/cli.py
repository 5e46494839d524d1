"""The command ``sjft``: finds and runs the subcommand; bad input becomes one sentence."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
from typing import NoReturn

from sjft import __version__
from sjft.errors import InputError, did_you_mean

#: what the commands are about -> subcommand -> what it does; its module is
#: sjft_tools.commands.<name with _ for ->
GROUPS = {
    "everything at once": {
        "run": "run an experiment from images to report, in rounds",
        "report": "write the report of a finished 'sjft run' once more",
        "demo": "run the whole method on embedded data",
    },
    "images": {
        "convert": "write an image LMDB from folders, a list or a published data set",
        "index": "write the side files for an image LMDB that Caffe's own tools made",
        "leaks": "find source images that show a picture of the target's test set",
    },
    "neighbours": {
        "fit-bins": "fit the adaptive histogram bins on the target images",
        "retrieve": "find the nearest source images of every target image",
        "merge": "join what 'sjft retrieve --shard' computed in parts",
        "random-neighbours": "draw source images at random, for the paper's comparisons",
        "neighbours": "report what is selected at each K_0: images, classes, overlap, distances",
        "gallery": "draw target images beside their neighbours",
    },
    "nets": {
        "prototxt": "write nets and solvers for a target set of one's own",
        "graft": "put the two heads and the joint data layer on any classification net",
        "adapt": "write a solver and its net anew with other data, schedule and snapshots",
        "models": "list the published weights; tell what of a weights file a net would load",
        "view": "show a net in netscope with all shapes, or draw it; check what netscope reads",
    },
    "training": {
        "check": "test everything that training needs, before training",
        "train": "train a net, to be stopped and resumed at any moment",
        "plot": "draw training curves from logs",
        "harden": "give the target images that a trained net finds hard more neighbours",
    },
    "results": {
        "evaluate": "measure a trained net's accuracy on an image LMDB",
        "fuse": "average the scores of several models",
    },
    "other Caffes and machines": {
        "import-original": "turn the text files of the authors' Caffe into LMDBs and files of sjft",
        "upgrade-prototxt": "turn a net of the authors' Caffe into one of stock layers and sjft's",
        "bundle": "pack Caffe, Python and sjft for a machine without network",
    },
}
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

NO_ROOM_OR_LEAVE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141  # what a shell makes of SIGPIPE


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = "\n".join(
        f"\n{title}:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in group.items())
        for title, group in GROUPS.items()
    )
    parser = argparse.ArgumentParser(
        prog="sjft",
        usage="sjft COMMAND ...",
        description=f"Selective joint fine-tuning with Caffe.\n{lines}",
        epilog="'sjft COMMAND --help' shows a command's options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sjft {__version__}")
    return parser


def _fail(command: str, message: str, status: int) -> NoReturn:
    sys.stdout.flush()
    print(f"sjft {command}: error: {message}", file=sys.stderr)
    raise SystemExit(status)


def _raise_interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _run(command: str, arguments: list[str]) -> None:
    try:
        _run_command(command, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        raise SystemExit(EXIT_NO_READER) from None


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed, as behind ``sjft models | head``."""
    try:
        print(flush=True)  # what was printed before may be gone already
    except BrokenPipeError:
        # or Python would complain about what is left when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _run_command(command: str, arguments: list[str]) -> None:
    # A batch system's SIGTERM must clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        # here, as importing takes so long that it may well be interrupted
        from sjft_tools.command import EXAMPLES_TITLE, Parser, print_options
        from sjft_tools.examples import EXAMPLES

        module = importlib.import_module(f"sjft_tools.commands.{command.replace('-', '_')}")
        parser = Parser(
            prog=f"sjft {command}",
            description=module.__doc__,
            epilog=f"{EXAMPLES_TITLE}{EXAMPLES[command]}",
        )
        module.add_arguments(parser)
        args = parser.parse_args(arguments)
        print_options(parser.prog, args)
        module.run(args)
    except InputError as error:
        _fail(command, str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        _fail(command, "interrupted; nothing was left half-written", EXIT_INTERRUPTED)
    except MemoryError as error:
        _fail(command, f"there is not enough memory: {error or 'expected more'}", 1)
    except OSError as error:
        if error.errno not in NO_ROOM_OR_LEAVE:
            raise
        place = f" (writing {error.filename})" if error.filename else ""
        _fail(command, f"{error.strerror}{place}: expected room and leave to write there", 1)


def _open_closed_streams() -> None:
    """Open the standard streams that are closed, as some daemons leave them, for nothing.

    The next file to be opened would pass for one of them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def main(argv: list[str] | None = None) -> None:
    """Run ``sjft`` with `argv` (default: the process's); leaves through SystemExit on failure."""
    _open_closed_streams()
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0].startswith("-"):
        parser = _top_parser()
        parser.parse_args(argv)
        parser.print_help()
        raise SystemExit(EXIT_BAD_INPUT)
    command = argv[0]
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS) or f"; the commands are {', '.join(COMMANDS)}"
        print(f"sjft: error: there is no command '{command}'{hint}", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)
    _run(command, argv[1:])


if __name__ == "__main__":
    main()
