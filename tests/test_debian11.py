"""Tests of layers and commands once more, in Debian 11's own Caffe; the scripts that bring it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import REPO, draw_image
from joint_world import make_world
from processes import descendants, killed_at_last, run, start, survivors
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum

SCRIPTS = REPO / "tests" / "debian11"
RUN, ROOT = SCRIPTS / "run.sh", SCRIPTS / "root.sh"
CANNOT = 77  # exit status where the machine gives no right to do it

#: What is neither about what Caffe loads nor a look at the other commands: a word stands for all
#: test files whose names begin with it. Every other one runs inside Debian 11, new ones included.
OUTSIDE = {
    *("adapt", "alexnet_weights", "atomic", "banks", "bins", "bundle", "caffe_install", "check"),
    *("cli", "convert", "cuda_build", "debian11", "demo", "describe", "distance", "docs"),
    *("earlier_results", "evaluate", "exact", "exclusion", "experiment_steps", "experiments"),
    *("formats", "gpu", "graft_refusals", "harden", "histogram", "import_original", "index"),
    *("leaks", "limits", "matching", "merged", "models", "multi_crop", "nets", "netscope"),
    *("only_skip", "overlap", "plot_logs", "random_neighbours", "report", "retrieval"),
    *("retrieve", "rounding", "run_checks", "run_file", "run_kills", "run_watch", "step_output"),
    *("unfinished", "upgrade_prototxt", "upgraded_nets"),
}

#: Debian 11's versions, and a program that prints those it finds.
VERSIONS = {"Python": "3.9", "numpy": "1.19", "protobuf": "3.12", "OpenCV": "4.5", "lmdb": "1.0"}
PRINT_VERSIONS = """
import json, platform, shutil, caffe, cv2, google.protobuf, lmdb, numpy
versions = (platform.python_version(), numpy.__version__, google.protobuf.__version__,
            cv2.__version__, lmdb.__version__, shutil.which("caffe"), caffe.__file__)
print(json.dumps(versions))
"""

#: Prints, as float32, all tops of some batches of the data bases beside it: first those of lossless
#: images that are only cropped, then those of JPEGs decoded, if large at reduced size, and resized.
PRINT_BATCHES = """
import json, sys
import numpy as np
from sjft.batches import JointBatches, TargetBatches
from sjft.layer_params import parse_joint_data, parse_target_data

joint = {"target": "target_lmdb", "source": "source_lmdb", "neighbours": "neighbours_lmdb"}
joint = parse_joint_data(json.dumps({**joint, "batch_size": 8, "k0": 4, "crop": 32, "seed": 3}))
resized = {"target": "jpeg_lmdb", "batch_size": 5, "resize_shorter": [34, 60], "crop": 32}
resized = parse_target_data(json.dumps(resized), train=True)
for batches in (JointBatches(joint, rank=1, ranks=2), TargetBatches(resized)):
    for number in range(12):
        tops = {name: np.empty(shape, np.float32) for name, shape in batches.tops.items()}
        batches.fill(number, tops)
        for top in tops.values():
            sys.stdout.buffer.write(top.tobytes())
"""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give up rights")


def files_inside() -> list[str]:
    """The test files that run inside Debian 11, relative to the checkout."""
    names = {f"{path.stem[len('test_') :]}_": path for path in (REPO / "tests").glob("test_*.py")}
    beginnings = tuple(f"{word}_" for word in OUTSIDE)
    for beginning in beginnings:  # or the list above names a file that is gone
        assert any(name.startswith(beginning) for name in names), beginning
    return sorted(
        f"tests/{path.name}" for name, path in names.items() if not name.startswith(beginnings)
    )


@pytest.fixture
def debian11(capfd: pytest.CaptureFixture) -> Path:
    """The folder of the Debian 11 root, which is built first where it is missing."""
    with subprocess.Popen(
        [ROOT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            with capfd.disabled():  # shown at once: a build takes minutes
                print(line, end="", file=sys.stderr, flush=True)
        folder = process.stdout.read().strip()
    if process.returncode == CANNOT:
        pytest.skip("".join(said).strip())
    assert process.returncode == 0, "".join(said)
    return Path(folder)


def inside(*command: str) -> str:
    """Run a command inside the root, check that it succeeds, return what it printed."""
    return run(RUN, *command, timeout_s=1800)


@pytest.mark.usefixtures("debian11")
def test_layers_and_commands_pass_their_tests(capfd: pytest.CaptureFixture) -> None:
    found = json.loads(inside("python3", "-c", PRINT_VERSIONS).splitlines()[-1])
    versions = dict(zip(VERSIONS, found))
    caffe, pycaffe = found[len(VERSIONS) :]
    assert {name: ".".join(versions[name].split(".")[:2]) for name in versions} == VERSIONS
    assert (caffe, pycaffe) == (
        "/usr/bin/caffe",
        "/usr/lib/python3/dist-packages/caffe/__init__.py",
    )

    files = files_inside()
    output = inside("python3", "-m", "pytest", "-p", "no:cacheprovider", *files)
    summary = output.splitlines()[-1].strip("= ")
    assert re.fullmatch(r"\d+ passed(, \d+ (skipped|warnings?))* in .*", summary), output
    for file in files:
        assert re.search(rf"^{file} [.s]*\.", output, re.MULTILINE), f"no test of {file}\n{output}"
    skipped = re.findall(r"^SKIPPED .*", output, re.MULTILINE)
    with capfd.disabled():
        print("\nDebian 11:", ", ".join(f"{name} {versions[name]}" for name in versions))
        print(f"Debian 11: {summary}", *skipped, sep="\nDebian 11: ")


def write_jpegs(path: Path) -> None:
    with ImageLmdbWriter(str(path)) as writer:
        for seed in range(15):
            height, width = 50 + 20 * seed, 61 + 19 * seed
            grain = np.random.default_rng(seed).integers(-20, 21, (height, width, 3))
            image = np.clip(draw_image(seed, height, width) + grain, 0, 255).astype(np.uint8)
            encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60 + 2 * seed])[1]
            writer.add(encoded_datum(encoded.tobytes(), seed % 3, height, width), seed % 3)


@pytest.mark.usefixtures("debian11")
def test_batches_do_not_depend_on_the_system(tmp_path: Path) -> None:
    make_world(tmp_path)
    write_jpegs(tmp_path / "jpeg_lmdb")
    (tmp_path / "program.py").write_text(PRINT_BATCHES)
    folder = subprocess.run(["tar", "-cC", tmp_path, "."], stdout=subprocess.PIPE, check=True)
    unpack = "tar -xC /tmp && cd /tmp && python3 program.py"
    printed = [
        subprocess.run(command, cwd=tmp_path, input=data, stdout=subprocess.PIPE, check=True)
        for command, data in (
            ([sys.executable, "program.py"], None),
            ([RUN, "sh", "-c", unpack], folder.stdout),
        )
    ]
    here, there = (np.frombuffer(process.stdout, np.float32) for process in printed)
    assert len(here) == 12 * (8 * 3 * 32 * 32 + 3 * 4) + 12 * (5 * 3 * 32 * 32 + 5)
    assert np.array_equal(here, there)


@pytest.mark.usefixtures("debian11")
def test_root_and_checkout_are_read_only() -> None:
    names = ("/x", "/usr/x", "/checkout/x", "/tmp/x", "/dev/shm/x")
    tries = "; ".join(f"touch {name} 2>/dev/null && echo {name}" for name in names)
    assert inside("sh", "-c", f"{tries}; pwd").split() == ["/tmp/x", "/dev/shm/x", "/checkout"]


def test_a_failure_is_passed_on(debian11: Path) -> None:
    run(RUN, "sh", "-c", "exit 3", status=3)


def assert_nothing_stays(pids: list[int], folder: Path) -> None:
    """Wait for the processes to be gone; no mount may be left in `folder`."""
    assert pids
    assert not survivors(pids)
    assert os.fspath(folder) not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize("wrapper", [(), ("sh", "-c", '"$@"; exit', "sh")])
def test_nothing_outlives_a_killed_run(debian11: Path, wrapper: tuple[str, ...]) -> None:
    """Kill the run itself, or the process that called it."""
    program = "sleep 600 & echo started; sleep 600; exit"
    with killed_at_last(start(*wrapper, RUN, "sh", "-c", program)) as process:
        assert process.stdout.readline() == "started\n"
        pids = descendants(process.pid)
    assert_nothing_stays(pids, debian11)


def build(cache: Path, site: str) -> contextlib.AbstractContextManager[subprocess.Popen]:
    """Start root.sh with an empty cache and the Debian site `site` of this machine."""
    return killed_at_last(start(ROOT, SJFT_CACHE=cache, CAFFE_DEBIAN_SITE=site, no_proxy="*"))


@pytest.fixture
def silent_site() -> Iterator[str]:
    """A site that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/debian"


@pytest.mark.usefixtures("debian11")
def test_a_killed_build_leaves_nothing(tmp_path: Path, silent_site: str) -> None:
    def folders() -> set[Path]:
        return set(tmp_path.glob("debian11-*/"))

    left: set[Path] = set()
    for _ in range(2):
        with build(tmp_path, silent_site) as process:
            deadline = time.monotonic() + 60
            while not (new := [f for f in folders() - left if (f / "root/debootstrap").exists()]):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            pids = descendants(process.pid)
        assert_nothing_stays(pids, tmp_path)
        # the second build swept away what the first one left, and neither has the final name
        assert folders() == set(new) and ".tmp." in new[0].name
        left = folders()


@pytest.mark.usefixtures("debian11")
def test_a_site_without_the_suite(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=str(tmp_path)),
    )
    threading.Thread(target=server.serve_forever).start()
    try:
        with build(tmp_path / "cache", f"http://127.0.0.1:{server.server_port}") as process:
            output, _ = process.communicate(timeout=600)
    finally:
        server.shutdown()
        server.server_close()
    assert process.returncode == 1
    assert "no Debian site could give the suite bullseye; if Debian has moved it" in output
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


@needs_root
@pytest.mark.parametrize(
    "rights, said",
    [
        (
            ("--reuid=65534", "--regid=65534", "--clear-groups"),
            "root.sh: a Debian 11 root needs the user root, for debootstrap and chroot\n",
        ),
        (
            ("--bounding-set=-sys_admin",),
            "root.sh: a Debian 11 root needs the right to mount and to chroot (CAP_SYS_ADMIN, "
            "CAP_SYS_CHROOT), which is denied here: unshare: unshare failed: Operation not "
            "permitted\n",
        ),
    ],
    ids=["not the user root", "no right to mount"],
)
def test_a_machine_that_does_not_allow_it(rights: tuple[str, ...], said: str) -> None:
    # pytest's temporary folders are closed to others
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("tests/debian11", "tools/caffe"):
            shutil.copytree(REPO / name, Path(folder, name))
        script, cache = Path(folder, "tests/debian11/run.sh"), Path(folder, "cache")
        command = ("setpriv", *rights, "bash", script, "true")
        assert run(*command, cwd=Path("/"), status=CANNOT, SJFT_CACHE=cache) == said
        assert not cache.exists()
