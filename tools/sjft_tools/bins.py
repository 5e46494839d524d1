"""The adaptive bins of a target set: what ``sjft fit-bins`` writes and ``sjft retrieve`` reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from sjft import __version__
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import new_file
from sjft_tools.banks import DEFAULT_RESIZE
from sjft_tools.banks.bank import Bank
from sjft_tools.checksums import checksum_of
from sjft_tools.npz import npz_problem

FORMAT = "sjft bins 1"


@dataclass(frozen=True)
class BinsInfo:
    """How bins were fitted: the bank, its image size, and what it was fitted with and on."""

    bank: str
    resize: int
    """Images were warped to resize x resize pixels."""
    weights_checksum: str
    """Of the bank's learnt weights; "" if it has none."""
    target_fingerprint: str
    resolution: int | None = None
    """Larger images were reduced to resolution x resolution pixels first; None: they were not."""


@dataclass(frozen=True, eq=False)
class Bins:
    """B bins for each of the bank's D channels.

    `edges`: D x B float64, the bins' upper edges, ascending; the last is the channel's maximum.
    `minimum`, `maximum`: D float32, of the channel's responses over the target set.
    """

    info: BinsInfo
    edges: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    def checksum(self) -> str:
        """Return ``sha256:...`` of everything that the bins are."""
        info = json.dumps(asdict(self.info), sort_keys=True).encode()
        arrays = (self.edges, "<f8"), (self.minimum, "<f4"), (self.maximum, "<f4")
        return checksum_of(info, *(array.astype(kind).tobytes() for array, kind in arrays))

    def save(self, path: str, force: bool = False) -> None:
        """Write the .npz file `path`. Raises InputError if it exists and `force` is not set."""
        text = json.dumps({"format": FORMAT, **asdict(self.info), "sjft_version": __version__})
        with new_file(path, force) as partial, open(partial, "wb") as stream:
            np.savez(
                stream,
                info=np.array(text),
                edges=self.edges,
                minimum=self.minimum,
                maximum=self.maximum,
            )


def load_bins(path: str) -> Bins:
    """Read the file that Bins.save wrote. Raises InputError if it is missing or not such a file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            info = json.loads(str(stored["info"]))
            arrays = [stored[name] for name in ("edges", "minimum", "maximum")]
        if info.pop("format") != FORMAT:
            raise ValueError(f"its format is not '{FORMAT}'")
        info.pop("sjft_version")
        bins = Bins(BinsInfo(**info), *arrays)
        _validate(bins)
    except FileNotFoundError:
        raise InputError(f"the bins file {path} does not exist") from None
    except Exception as error:
        # A broken zip file, a foreign .npz, a missing key: each surfaces as another exception type.
        raise InputError(
            f"{path} is not a bins file that 'sjft fit-bins' wrote ({npz_problem(path, error)})"
        ) from None
    return bins


def _validate(bins: Bins) -> None:
    edges = bins.edges
    if edges.ndim != 2 or edges.dtype != np.float64 or edges.shape[1] < 2:
        raise ValueError(f"its edges are {edges.dtype} of shape {edges.shape}")
    for limit in (bins.minimum, bins.maximum):
        if limit.shape != edges.shape[:1] or limit.dtype != np.float32:
            raise ValueError("its minimum or maximum does not fit its edges")
    if not np.isfinite(edges).all() or (np.diff(edges, axis=1) < 0).any():
        raise ValueError("its edges are not finite and ascending")
    if (edges[:, -1] != bins.maximum).any() or (edges[:, 0] < bins.minimum).any():
        raise ValueError("its edges do not lie between its minimum and maximum")
    info = bins.info
    if info.bank not in DEFAULT_RESIZE:
        raise ValueError(f"its bank is '{info.bank}'")
    if not isinstance(info.resize, int) or not isinstance(info.resolution, (int, type(None))):
        raise ValueError(f"its sizes are {info.resize!r} and {info.resolution!r}")


def check_lmdbs(bins: Bins, path: str, target: ImageLmdb, source: ImageLmdb) -> None:
    """Raise InputError unless the bins of the file `path` were fitted on `target`."""
    fitted_on = bins.info.target_fingerprint
    if fitted_on == target.fingerprint:
        return
    if fitted_on == source.fingerprint:
        raise InputError(
            f"target and source are swapped: {path} was fitted on {source.path}, which is given as "
            f"the source"
        )
    raise InputError(
        f"{path} was fitted on other images than those of the target LMDB {target.path}: run "
        f"'sjft fit-bins' on them"
    )


def check_weights(bins: Bins, path: str, weights: str | None) -> None:
    """Raise InputError if the bins' bank needs weights and none are given, or the reverse."""
    if bins.info.weights_checksum and weights is None:
        raise InputError(
            f"{path} holds bins of the {bins.info.bank} bank, which needs --weights: give the file "
            f"that they were fitted with"
        )
    if weights is not None and not bins.info.weights_checksum:
        raise InputError(
            f"{path} holds bins of the {bins.info.bank} bank, which has no learnt weights: "
            f"expected bins of the bank that {weights} belongs to"
        )


def check_bank(bins: Bins, path: str, bank: Bank) -> None:
    """Raise InputError unless the bins of the file `path` were fitted with `bank`."""
    channels = sum(layer.channels for layer in bank.layers)
    if len(bins.edges) != channels:
        raise InputError(
            f"{path} holds bins for {len(bins.edges)} channels, expected the {channels} of the "
            f"{bank.name} bank"
        )
    if bins.info.weights_checksum != bank.weights_checksum:
        raise InputError(
            f"{path} was fitted with other weights than those given: expected the same --weights "
            f"in 'sjft fit-bins' and 'sjft retrieve'"
        )
