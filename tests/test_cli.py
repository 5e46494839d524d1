"""What all subcommands owe to ``sjft`` itself: how they are found, and how they end."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import run_sjft
from processes import killed_at_last, read_until
from sjft import __version__
from sjft_tools.cli import COMMANDS
from sjft_tools.command import progress

F_SETPIPE_SZ = 1031  # Linux's; in fcntl since Python 3.10


def test_without_a_command_it_lists_them() -> None:
    for arguments, status in (((), 2), (("--help",), 0)):
        printed = run_sjft(*arguments, status=status)
        assert all(f"  {name} " in printed for name in COMMANDS)
    assert run_sjft("--version") == f"sjft {__version__}\n"


def test_an_unknown_command() -> None:
    expected = "sjft: error: there is no command 'retreive'; did you mean 'retrieve'?\n"
    assert run_sjft("retreive", status=2) == expected
    printed = run_sjft("zzz", status=2)
    assert printed == f"sjft: error: there is no command 'zzz'; the commands are {_joined()}\n"


def _joined() -> str:
    return ", ".join(COMMANDS)


def start(*arguments: str, options: tuple[str, ...] = (), **keywords: object) -> subprocess.Popen:
    command = [sys.executable, *options, "-m", "sjft_tools.cli", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **keywords)  # type: ignore[call-overload]


# every module is named when its import ends: tqdm's are the first of all commands', numpy's of this
@pytest.mark.parametrize("imported", [b" tqdm.", b" numpy."])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_a_command_is_being_imported(
    sent: signal.Signals, imported: bytes, make_lmdb: Callable[..., str], tmp_path: Path
) -> None:
    target, out = make_lmdb("target", 200), str(tmp_path / "out.npz")
    arguments = ("fit-bins", target, out, "--bank", "gabor")
    with killed_at_last(start(*arguments, options=("-X", "importtime"))) as process:
        # however late the signal comes: a pipe so small keeps the command from getting far
        fcntl.fcntl(process.stderr, F_SETPIPE_SZ, 4096)
        read_until(process.stderr, imported)
        process.send_signal(sent)
        printed = process.stderr.read()
    assert process.returncode == 130
    assert b"fit-bins: error: interrupted; nothing was left half-written" in printed
    assert b"Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("arguments", [("models",), ("models", "no.prototxt")])
def test_nobody_reads_what_it_prints(arguments: tuple[str, ...]) -> None:
    """As behind `sjft models | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        process = start(*arguments, stdout=closed)
    printed = process.communicate(timeout=600)[1]
    assert b"Traceback" not in printed and b"Exception" not in printed
    assert process.returncode == (141 if len(arguments) == 1 else 2)


def test_too_little_memory(make_lmdb: Callable[..., str], tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

    target, out = make_lmdb("target", 3), str(tmp_path / "out.npz")
    arguments = ("fit-bins", target, out, "--bank", "gabor", "--resize", "100000")
    process = start(*arguments, preexec_fn=limit)
    printed = process.communicate(timeout=600)[1]
    assert process.returncode == 1
    assert b"sjft fit-bins: error: there is not enough memory: Unable to allocate" in printed
    assert b"Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_bar_moves_less_often_in_a_file_than_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = os.openpty()
    try:
        for path, interval in (os.ttyname(ends[1]), 0.5), (str(tmp_path / "log"), 60):
            with open(path, "w") as stream, monkeypatch.context() as patched:
                patched.setattr(sys, "stderr", stream)
                with progress((), "images", total=2) as bar:
                    assert bar.mininterval == interval
                    bar.update(2)
        states = (tmp_path / "log").read_bytes().split(b"\r")
        assert [state[:12] for state in states] == [b"", b"images:   0%", b"images: 100%"]
    finally:
        for end in ends:
            os.close(end)
