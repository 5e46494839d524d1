"""How fast the data layers are: beside Caffe's own, beside plain Python, and beside no data at all.

    python benchmarks/data_layer.py [--rounds 20] [--seconds 0.7] [--steps 100] [--images DIR] [--json FILE]

All ways read the same LMDBs of JPEG records, 256 x 256 and larger, made below build/benchmarks/ from
drawn photographs or from the images in DIR: batch 18, crop 224 at random, mirror, mean. In each
round every way has its turn, in random order and in processes of the round; batches that were ready
before do not count. Shown are medians over the rounds, and of the ratios within each round also the
95 % confidence interval.
"cores" is how many a way kept busy.

Then a real net takes training steps, fed by JointDataLayer and by DummyData in turn.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import photographs
import ways
from medians import Median, median_of
from rates import Results, measure_rates
from results import OUT, save
from ways import Way

from sjft.cores import cores

PROBES = Path(__file__).parent
NATIVE, LOOP, LARGE = "Caffe's Data", "plain Python loop", "1024 x 768: "


def worker_counts() -> list[int]:
    """Return 1, 2, 4, ... up to the number of cores, and that number."""
    return sorted({*(2**i for i in range(cores().bit_length())), cores()})


def all_ways(folder: Path) -> dict[str, Way]:
    """Return the ways to compare, by the names that the table shows."""
    found = {
        f"{NATIVE}, prefetch 4": ways.native(folder, 4),
        f"{NATIVE}, prefetch 16": ways.native(folder, 16),
        f"{NATIVE}, prefetch 4, batch 72": ways.native(folder, 4, 72),
        LOOP: ways.loop(folder),
    }
    for workers in (0, *worker_counts()):
        found[f"JointDataLayer, workers {workers}"] = ways.joint(folder, workers)
        found[f"TargetDataLayer, workers {workers}"] = ways.target(folder, workers)
    found[alone()] = ways.joint(folder, 0, processes=cores())
    found[LARGE + LOOP] = ways.loop(folder, "large", ways.SHORTER)
    for workers in (0, cores()):
        way = ways.target(folder, workers, "large", ways.SHORTER)
        found[f"{LARGE}TargetDataLayer, workers {workers}"] = way
    return found


def alone() -> str:
    """Return the name of the way that shows what the machine can do at most."""
    return f"JointDataLayer, workers 0, {cores()} processes apart"


def measure_training(folder: Path, steps: int) -> dict[str, Any]:
    """Return the seconds of training steps: see training_probe.py."""
    print(f"{steps} pairs of training steps ...", file=sys.stderr, flush=True)
    params = json.dumps(ways.joint_params(folder, None))
    command = [sys.executable, str(PROBES / "training_probe.py"), params, str(steps)]
    probe = subprocess.run(command, capture_output=True, text=True, check=False)
    if probe.returncode:
        raise SystemExit(f"training failed:\n{probe.stderr}")
    return json.loads(probe.stdout)


def ratios(results: Results) -> dict[str, Median]:
    """Return the ratios of interest, by what they say."""
    rates = {name: np.array(result["rate"]) for name, result in results.items()}
    native = max((n for n in rates if n.startswith(NATIVE)), key=lambda n: median(rates[n]))
    n = cores()
    found = {}
    for layer in ("JointDataLayer", "TargetDataLayer"):
        full, none = f"{layer}, workers {n}", f"{layer}, workers 0"
        found[f"{full} / {native} (to reach: 2.5)"] = rates[full] / rates[native]
        found[f"{full} / ({n} x workers 0) (to reach: 0.9)"] = rates[full] / (n * rates[none])
        found[f"{full} / ({n} x {LOOP})"] = rates[full] / (n * rates[LOOP])
    none = "JointDataLayer, workers 0"
    found[f"{alone()} / ({n} x workers 0)"] = rates[alone()] / (n * rates[none])
    none = f"{LARGE}TargetDataLayer, workers 0"
    found[f"{none} / {LOOP}"] = rates[none] / rates[LARGE + LOOP]
    return {name: median_of(ratio) for name, ratio in found.items()}


def training_figures(found: dict[str, list[float]]) -> dict[str, Median]:
    """Return what of a training step the data take, in percent of a step, with DummyData's."""
    joint, dummy = np.array(found["joint"]), np.array(found["dummy"])
    waited, took, workers = (np.array(found[name]) for name in ("waited", "took", "workers"))
    return {
        "slower than with DummyData (to reach: 1)": median_of(100 * (joint / dummy - 1)),
        "waiting for the batch": median_of(100 * waited / joint),
        "waiting and copying": median_of(100 * took / joint),
        "a core's time for the next batch": median_of(100 * workers / joint),
    }


def show_rates(results: Results, found: dict[str, Median]) -> None:
    """Print a line per way and per ratio."""
    print(f"{'':50}{'images/s':>10}{'cores':>7}{'core ms/image':>15}")
    for name, result in results.items():
        rate, busy = median(result["rate"]), median(result["cores"])
        print(f"{name:50}{rate:10,.0f}{busy:7.2f}{1000 * busy / rate:15.3f}")
    others = max(max(result["others"]) for result in results.values())
    print(f"other processes took up to {others:.2f} cores meanwhile\n")
    for name, ratio in found.items():
        print(f"{name:82} {ratio.text()}")
    print(flush=True)


def show_training(training: dict[str, list[float]], figures: dict[str, Median]) -> None:
    """Print what the data take of a training step."""
    joint, dummy = median(training["joint"]), median(training["dummy"])
    print(f"a training step of SqueezeNet: {joint:.3f} s, with DummyData {dummy:.3f} s")
    for name, figure in figures.items():
        print(f"{name:42} {figure.text()} % of a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each way in each round")
    parser.add_argument("--steps", type=int, default=100, help="pairs of training steps")
    parser.add_argument("--images", type=Path, metavar="DIR", help="real images to use")
    parser.add_argument("--json", type=Path, default=OUT / "data_layer.json")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0 or args.steps < 1:
        parser.error("--rounds, --seconds and --steps must be positive")
    folder = photographs.build(args.images)
    sizes = {name: photographs.kilobytes(folder, name) for name in photographs.SETS}
    print(", ".join(f"{name} {size:.0f} kB" for name, size in sizes.items()), "a record")
    results = measure_rates(all_ways(folder), args.rounds, args.seconds)
    found = ratios(results)
    show_rates(results, found)
    training = measure_training(folder, args.steps)
    figures = training_figures(training)
    show_training(training, figures)
    content = {
        "rounds": args.rounds,
        "seconds": args.seconds,
        "kilobytes": sizes,
        "ways": results,
        "ratios": {name: ratio._asdict() for name, ratio in found.items()},
        "training_seconds": training,
        "training_percent": {name: figure._asdict() for name, figure in figures.items()},
    }
    save(args.json, content)


if __name__ == "__main__":
    main()
