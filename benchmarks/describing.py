"""How fast images are described: stage by stage, all together, and beside literal ways.

    python benchmarks/describing.py [--rounds 8] [--seconds 0.5] [--images DIR] [--weights FILE] [--json FILE]

All ways read the same JPEG records, 256 x 256, made below build/benchmarks/ from drawn photographs
or from the images in DIR. In each round every way has its turn, in random order; shown are medians
over the rounds, and of the ratios within each round also the 95 % confidence interval. Each of
sjft's stages and the whole of them use all cores, the literal ways one image and mostly one core at
a time. The AlexNet bank takes random weights unless it is given real ones: they cost the same.
"""  # noqa: E501

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import describing_ways as ways
import numpy as np
import photographs
from medians import Median, median_of
from results import OUT, save
from turns import Rates, measure

from sjft.image_lmdb import ImageLmdb
from sjft_tools.banks.alexnet_weights import SHAPES
from sjft_tools.image_lmdb_writer import ImageLmdbWriter
from sjft_tools.overlap import cores

RECORDS = 96


def few_records(images: Path | None) -> ImageLmdb:
    """Return an LMDB of the first records of photographs.py's source set."""
    folder = photographs.build(images)
    path = folder / "describing_lmdb"
    if not path.exists():
        source = ImageLmdb(photographs.lmdb_path(folder, "source"))
        with ImageLmdbWriter(str(path)) as writer:
            for value in source.values(0, RECORDS):
                writer.add(value, 0)
    return ImageLmdb(str(path))


def random_weights(folder: Path) -> str:
    """Write AlexNet's first layers with random weights; return the file's path."""
    rng = np.random.default_rng(1)
    path = folder / "weights.npz"
    np.savez(path, **{name: rng.normal(0, 0.02, shape) for name, shape in SHAPES.items()})
    return str(path)


def ratios(bank: str, rates: Rates) -> dict[str, Median]:
    """Return the ratios of interest, by what they say."""
    rate = {name: np.array(values) for name, values in rates.items()}
    found = {}
    for backend in ways.backends(bank):
        whole, alone = ways.whole(backend), ways.bank_alone(backend)
        stages = [rate[name] for name in (ways.READ, ways.WARP, ways.HISTOGRAMS, alone)]
        found[f"{whole} / its slowest stage (to reach: 0.7)"] = rate[whole] / np.min(stages, axis=0)
        one_by_one = 1 / np.sum(1 / np.array(stages), axis=0)
        found[f"{whole} / its stages one after the other, all cores on each"] = (
            rate[whole] / one_by_one
        )
        counting = f"histograms' time / bank's by {backend} (at most 0.15)"
        found[counting] = rate[alone] / rate[ways.HISTOGRAMS]
    best = max(map(ways.whole, ways.backends(bank)), key=lambda name: median(rates[name]))
    goals = {ways.LITERAL: " (to reach: 10)", ways.SKIMAGE: " (to reach: 20)", ways.FFTCONVOLVE: ""}
    for name, goal in goals.items():
        if name in rate:
            found[f"{best} / ({name}){goal}"] = rate[best] / rate[name]
    return {name: median_of(ratio) for name, ratio in found.items()}


def show(bank: str, rates: Rates, found: dict[str, Median]) -> None:
    """Print a line per way and per ratio."""
    print(f"\n{bank} bank, {cores()} cores{'images/s':>35}")
    for name, values in rates.items():
        print(f"{name:45}{median(values):12,.1f}")
    print()
    for name, ratio in found.items():
        print(f"{name:82} {ratio.text()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each way in each round")
    parser.add_argument("--images", type=Path, metavar="DIR", help="real images to use")
    parser.add_argument("--weights", help="of AlexNet, as for 'sjft fit-bins'")
    parser.add_argument("--json", type=Path, default=OUT / "describing.json")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    lmdb = few_records(args.images)
    content: dict[str, object] = {
        "rounds": args.rounds,
        "seconds": args.seconds,
    }
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights or random_weights(Path(folder))
        for bank, given in (("alexnet", weights), ("gabor", None)):
            rates = measure(
                ways.all_ways(bank, given, lmdb), args.rounds, args.seconds, f"{bank} bank"
            )
            found = ratios(bank, rates)
            show(bank, rates, found)
            content[bank] = {
                "images_per_second": rates,
                "ratios": {name: ratio._asdict() for name, ratio in found.items()},
            }
    save(args.json, content)


if __name__ == "__main__":
    main()
