"""All that is to be measured on a GPU, in one run: is it right, is it fast, does retrieval use it.

    python benchmarks/gpu.py --out DIR [--parts tests,net,layers,training,times,matching,describing]
                             [--caffe-python COMMAND] [--torch-python COMMAND] [--rehearse]

Parts have a time budget each, 25 minutes in all; "correct", "speed" and "retrieval" name several:

    correct    tests       those of the project's tests that need a GPU
               net         joint ResNet-152, each layer and the whole, GPU against CPU
               layers      curves on CPU and GPU, workers, losses, snapshots gone on with
    speed      training    images per second by data, batch, cuDNN's choices; PyTorch beside it
               times       the slowest layers against what arithmetic and memory allow
    retrieval  matching    ImageNet's number of sources against 5,360 targets; the authors' way
               describing  the AlexNet bank and histograms

Steps that need Caffe run by --caffe-python, others by --torch-python: the two may be different
Pythons. DIR gets PART.json with all figures, report.md with the tables, a log of every step, and
the curves. A part that fails does not keep the others from running, but the exit status is 1.
--rehearse runs the same on the CPU, in sizes that take seconds: no figure of it says anything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
STEPS = HERE / "gpu_parts"
sys.path.insert(0, str(STEPS))

from sizes import FULL, REHEARSAL  # noqa: E402
from tables import markdown  # noqa: E402


class Step(NamedTuple):
    """A script of gpu_parts/, the Python that runs it, its seconds, its changed environment.

    What a step leaves of its time goes to the part's next.
    """

    script: str
    python: str
    seconds: float
    environment: dict[str, str] = {}  # noqa: RUF012
    name: str = ""


#: Caffe asks for no TensorFloat-32: cuDNN uses it in convolutions all the same, cuBLAS does not.
TF32 = {"as it is": {}, "ruled out": {"NVIDIA_TF32_OVERRIDE": "0"}}
PARTS = {
    "tests": [Step("gpu_tests.py", "caffe", 140), Step("gpu_tests.py", "torch", 50, name="torch")],
    "net": [Step("net.py", "caffe", 150, env, name) for name, env in TF32.items()],
    "layers": [Step("layers.py", "caffe", 60), Step("resume.py", "caffe", 90)],
    "training": [Step("training.py", "caffe", 320), Step("torch_training.py", "torch", 70)],
    "times": [Step("bounds.py", "torch", 30), Step("layer_times.py", "caffe", 70)],
    "matching": [Step("matching.py", "torch", 300)],
    "describing": [Step("describing.py", "torch", 60)],
}
GROUPS = {
    "correct": ["tests", "net", "layers"],
    "speed": ["training", "times"],
    "retrieval": ["matching", "describing"],
}
PATHS = [STEPS, HERE, HERE.parent / "python_layers", HERE.parent / "tools"]
# Not by PYTHONPATH alone: a bundle's Python has its own.
_BOOT = """
import runpy, sys
sys.path[:0] = {}
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# A step that its deadline does not stop is killed this much later.
_GRACE_S = 30


def main() -> None:
    args = _arguments()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    sizes = REHEARSAL if args.rehearse else FULL
    pythons = {"caffe": shlex.split(args.caffe_python), "torch": shlex.split(args.torch_python)}
    common = {
        "out": str(out),
        "gpu": None if args.rehearse else 0,
        "caffe": shlex.split(args.caffe),
        "reference": args.reference and str(args.reference.resolve()),
        "make_reference": False,
    }
    if args.make_reference:
        settings = {**common, **sizes["net"], "gpu": None, "make_reference": True}
        settings["reference"] = str(args.make_reference.resolve())
        result = run_step(Step("net.py", "caffe", 0), "reference", settings, pythons, out, 3600)
        raise SystemExit(result.get("error") and f"error: {result['error']}")
    if args.rehearse:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    budgets = {name: sum(step.seconds for step in PARTS[name]) for name in args.parts}
    pace = min(1.0, 60 * args.minutes / sum(budgets.values()))
    if args.rehearse:  # no time is measured, and the machine may have other work
        pace = 5.0
    failed = []
    for name, budget in budgets.items():
        print(f"== {name}, at most {pace * budget:.0f} s", flush=True)
        found = run_part(name, {**common, **sizes[name]}, pythons, out, pace)
        write(out / f"{name}.json", json.dumps(found, indent=1) + "\n")
        write(out / "report.md", report(out))
        print(markdown(found["tables"]), flush=True)
        for step in found["steps"]:
            if step.get("error"):
                failed.append(name)
                print(f"{name}: {step['name']} FAILED: {step['error']}", flush=True)
    print(f"tables: {out / 'report.md'}")
    raise SystemExit(f"failed: {', '.join(dict.fromkeys(failed))}" if failed else 0)


def run_part(
    name: str, settings: dict[str, Any], pythons: dict[str, list[str]], out: Path, pace: float
) -> dict[str, Any]:
    """Run the steps of a part and return their figures and tables; `pace` scales their times."""
    begin = time.time()
    end = begin
    steps: list[dict[str, Any]] = []
    for number, step in enumerate(PARTS[name]):
        end += pace * step.seconds
        label = f"{name}-{Path(step.script).stem}" + (f"-{number}" if step.name else "")
        own = {**settings, "label": step.name, "earlier": [s.get("values") for s in steps]}
        steps.append(run_step(step, label, own, pythons, out, max(1.0, end - time.time())))
    tables = [table for step in steps for table in step.get("tables", [])]
    return {"part": name, "seconds": time.time() - begin, "steps": steps, "tables": tables}


def run_step(
    step: Step,
    label: str,
    settings: dict[str, Any],
    pythons: dict[str, list[str]],
    out: Path,
    seconds: float,
) -> dict[str, Any]:
    """Run one script in a process of its own; return what it found, "error" if it failed."""
    settings = {**settings, "deadline": time.time() + seconds}
    asked, answer, log = (out / f"{label}.{end}" for end in ("settings.json", "tmp.json", "log"))
    write(asked, json.dumps(settings))
    answer.unlink(missing_ok=True)
    words = [str(STEPS / step.script), str(asked), str(answer)]
    command = [*pythons[step.python], "-c", _BOOT.format([*map(str, PATHS)]), *words]
    begin = time.time()
    with open(log, "w", encoding="utf-8") as stream:
        try:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment(step.environment),
                start_new_session=True,
            )
        except OSError as error:
            return {"name": label, "error": f"{command[0]} cannot be run: {error.strerror}"}
        status = _wait(process, seconds + _GRACE_S)
    lines = log.read_text(errors="replace").strip().splitlines()
    found: dict[str, Any] = {"name": label, "seconds": time.time() - begin}
    if answer.exists():
        found.update(json.loads(answer.read_text()))
        answer.unlink()
    if status is None:
        found["error"] = f"not done after {seconds + _GRACE_S:.0f} s, see {log}"
    elif status:
        found["error"] = f"status {status}, {_last_words(lines)}, see {log}"
    asked.unlink()
    return found


def _last_words(lines: list[str]) -> str:
    """Return the line of a log that says best why its process failed."""
    telling = re.compile(r"(?:[\w.]+Error|Failure|F\d{4,8} .*?\]):? (.*)")
    found = [match[1] for match in map(telling.match, lines) if match]
    return (found or lines or ["without a word"])[-1]


def _wait(process: subprocess.Popen, seconds: float) -> int | None:
    """Wait for the process, and end it and its children if it takes longer: then return None."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment(changes: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with changes, and the checkout's code for any Python."""
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    joined = os.pathsep.join([*map(str, PATHS), *own])
    # Unbuffered, so that a log's lines are in order, and all there if the step is killed.
    own_choice = {"GLOG_minloglevel": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": joined}
    return {**os.environ, **own_choice, **changes}


def report(out: Path) -> str:
    """Return the tables of all parts that have been run into `out`, and where."""
    text = [f"# On a GPU\n\n{time.strftime('%Y-%m-%d', time.gmtime())}. {machine()}"]
    for name in PARTS:
        file = out / f"{name}.json"
        if file.exists():
            found = json.loads(file.read_text())
            text.append(f"## {name}\n\n{found['seconds']:.0f} s.\n\n{markdown(found['tables'])}")
            text += [
                f"{step['name']} failed: {step['error']}"
                for step in found["steps"]
                if step.get("error")
            ]
    return "\n\n".join(text) + "\n"


def machine() -> str:
    """Return what this machine is: GPU and driver, cores."""
    gpu = "no nvidia-smi"
    if shutil.which("nvidia-smi"):
        query = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        ]
        process = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=False)
        gpu = process.stdout.strip().replace("\n", "; ") or gpu
    return f"{gpu}. {os.cpu_count()} cores, {platform.machine()}."


def write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", type=_parts, default=list(PARTS), metavar="NAME,NAME,...")
    this = shlex.quote(sys.executable)
    parser.add_argument("--caffe-python", default=this, metavar="COMMAND", help="has pycaffe")
    parser.add_argument("--torch-python", default=this, metavar="COMMAND", help="has torch")
    parser.add_argument("--caffe", default="caffe", metavar="COMMAND", help="the command caffe")
    parser.add_argument(
        "--make-reference",
        type=Path,
        metavar="FILE",
        help="only run the joint net on the CPU and note what it computes, less than 1 MB; that "
        "part takes 14 GB of memory",
    )
    parser.add_argument(
        "--reference", type=Path, metavar="FILE", help="what another build noted: compare with it"
    )
    parser.add_argument(
        "--minutes", type=float, default=25, help="for all parts chosen (default, and most: 25)"
    )
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in tiny sizes")
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    chosen = [name for word in text.split(",") for name in GROUPS.get(word, [word])]
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        known = ", ".join([*GROUPS, *PARTS])
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}: expected some of {known}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    main()
