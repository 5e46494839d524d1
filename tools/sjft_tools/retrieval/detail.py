"""Whether one set's images look enlarged beside the other's: then sharpness decides who is near."""

from __future__ import annotations

import cv2
import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.banks.bank import Bank, warp

_SAMPLE = 64  # images of each set
_SIZES = (16, 24, 32, 48, 64, 96, 128, 192)
#: A reduced image has kept its detail if so small a share of its variance is lost. Of Oxford
#: flowers 17 (shorter side 96) three in four lose more than twice that at 48 x 48; of Tiny ImageNet
#: (32 x 32, then enlarged) three in four lose less than 0.005 at 32 x 32.
_LOST = 0.007
#: Above that side images without detail may as well be smooth: micrographs, blurred photographs.
_COARSE = 64
#: How much finer, per side, the detail of the other set must be.
_TIMES = 2


def advice_on_detail(target: ImageLmdb, source: ImageLmdb, bank: Bank) -> str:
    """Return a sentence if a set has far less detail than the other one as `bank` sees them, or "".

    Looks at a few images of each; passes over those that cannot be used.
    """
    losses = {"target": _losses(target, bank), "source": _losses(source, bank)}
    for coarse, fine in (("source", "target"), ("target", "source")):
        most, least = _side(losses[coarse], 75), _side(losses[fine], 25) or bank.crop
        if most is not None and most <= _COARSE and least >= _TIMES * most:
            return (
                f"warning: the {coarse}'s images show no more detail than {most} x {most} pixels "
                f"hold, those of the {fine} far more: if they were enlarged, sharpness decides and "
                f"a few source images become everyone's neighbours; 'sjft fit-bins --resolution "
                f"{most}' compares both sets at that size"
            )
    return ""


def lost_detail(grey: np.ndarray, side: int) -> float:
    """Return the share of the variance of H x W float32 that is lost at side x side pixels."""
    reduced = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    back = cv2.resize(reduced, grey.shape[::-1], interpolation=cv2.INTER_CUBIC)
    variance = float(grey.var())
    return float(np.square(grey - back).mean()) / variance if variance else 0.0


def _losses(lmdb: ImageLmdb, bank: Bank) -> np.ndarray:
    """Return for each of _SIZES below the bank's crop what some images lose: sizes x images."""
    sizes = [side for side in _SIZES if side < bank.crop]
    columns: list[list[float]] = []
    for i in np.unique(np.linspace(0, lmdb.count - 1, _SAMPLE).astype(np.int64)):
        try:
            image = lmdb.image(int(i))
        except InputError:
            continue
        grey = cv2.cvtColor(warp(image, bank), cv2.COLOR_BGR2GRAY).astype(np.float32)
        columns.append([lost_detail(grey, side) for side in sizes])
    return np.array(columns).reshape(len(columns), len(sizes)).T


def _side(losses: np.ndarray, share: int) -> int | None:
    """Return the least of _SIZES at which `share` percent of the images keep their detail."""
    for side, row in zip(_SIZES, losses):
        if row.size and np.percentile(row, share) <= _LOST:
            return side
    return None
