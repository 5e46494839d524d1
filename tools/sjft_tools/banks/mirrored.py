"""Filtering images that go on beyond their borders as their own mirror images, by matrix products.

Such an image of n x n pixels is a sum of cos(u x) cos(v y), u and v being multiples of pi / n and x
and y counted from half a pixel outside: n x n cosines, the discrete cosine transform. A convolution
with a real kernel k turns

    cos(u x)  into  cos(u x) * sum of k cos(u d)  +  sin(u x) * sum of k sin(u d)

and in two dimensions into four such terms. A kernel that is even about its origin has cos cos and
sin sin only, an odd one sin cos and cos sin. The kernel mirrored from left to right has the same
terms, those with sin(u x) negative; so it costs nothing more than the addition. Each term is the
spectrum times the kernel's gains, multiplied by a matrix of cosines or sines from either side. For
images of up to some hundred pixels that is less work for a processor than fast transforms of twice
the size.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np

from sjft_tools.banks.torch_backend import TorchBackend
from sjft_tools.torch_precision import in_float32

_STRETCH = 192


class Basis(NamedTuple):
    """What does not depend on the kernels: n x n float32 each, row x or y, column u or v.

    `cos`, `sin`: of frequency times place; `analysis`: from places to amplitudes (row u or v).
    """

    cos: Any
    sin: Any
    analysis: Any


class Gains(NamedTuple):
    """The four kinds of terms of the filters, each scales x kernels x n x n float32 (v, u).

    Kernels lie at equal angles from 0 to 90 degrees, both included. `even`, `even_mirrored` are
    those of the real parts, `odd_x` and `odd_y` of the imaginary parts. A kernel at 0 degrees has
    no `odd_y`, one at 90 degrees no `odd_x`, and neither has `even_mirrored`.
    """

    even: Any
    even_mirrored: Any
    odd_x: Any
    odd_y: Any


def basis(side: int) -> Basis:
    """Return the basis for images of side x side pixels."""
    angles = np.pi / side * np.outer(np.arange(side) + 0.5, np.arange(side))
    analysis = 2 / side * np.cos(angles).T
    analysis[0] /= 2
    return Basis(
        *(array.astype(np.float32) for array in (np.cos(angles), np.sin(angles), analysis))
    )


def gains(kernels: list[list[np.ndarray]], side: int) -> Gains:
    """Return the gains of kernels for images of side x side pixels.

    `kernels`: scale -> angle from 0 to 90 degrees -> (2R+1) x (2R+1) complex (y, x), of which the
    real part is even and the imaginary part odd about the middle.
    """
    even, even_mirrored, odd_x, odd_y = [], [], [], []
    for row in kernels:
        radius = row[0].shape[0] // 2
        angles = np.pi / side * np.outer(np.arange(side), np.arange(-radius, radius + 1))
        cos, sin = np.cos(angles), np.sin(angles)
        even.append([cos @ kernel.real @ cos.T for kernel in row])
        even_mirrored.append([sin @ kernel.real @ sin.T for kernel in row[1:-1]])
        odd_x.append([cos @ kernel.imag @ sin.T for kernel in row[:-1]])
        odd_y.append([sin @ kernel.imag @ cos.T for kernel in row[1:]])
    return Gains(*(np.array(part, np.float32) for part in (even, even_mirrored, odd_x, odd_y)))


def filtered(images: Any, on: Basis, by: Gains, out: Any) -> None:
    """Filter N x n x n float32 images by kernels at all angles from 0 to 180 degrees.

    `out`: N x scales x angles x 2 x n x n float32, real and imaginary part. All arrays are numpy's,
    or all torch's on one device.
    """
    spectrum = _product(_product(on.analysis, images), on.analysis.T)[:, None, None]

    def term(gain: Any, vertical: Any, horizontal: Any) -> Any:
        return _product(vertical, _product(spectrum * gain, horizontal.T))

    right = by.even.shape[1] - 1  # the angle of 90 degrees
    even, twisted = term(by.even, on.cos, on.cos), term(by.even_mirrored, on.sin, on.sin)
    out[:, :, 0, 0] = even[:, :, 0]
    out[:, :, right, 0] = even[:, :, right]
    odd_x, odd_y = term(by.odd_x, on.cos, on.sin), term(by.odd_y, on.sin, on.cos)
    out[:, :, 0, 1] = odd_x[:, :, 0]
    out[:, :, right, 1] = odd_y[:, :, right - 1]
    for angle in range(1, right):
        out[:, :, angle, 0] = even[:, :, angle] + twisted[:, :, angle - 1]
        out[:, :, -angle, 0] = even[:, :, angle] - twisted[:, :, angle - 1]
        out[:, :, angle, 1] = odd_y[:, :, angle - 1] + odd_x[:, :, angle]
        out[:, :, -angle, 1] = odd_y[:, :, angle - 1] - odd_x[:, :, angle]


def _product(left: Any, right: Any) -> Any:
    """Return the matrix product, its sums taken in stretches that no BLAS divides any further.

    OpenBLAS divides longer ones in one way for one thread and in another way for several.
    """
    parts = [
        left[..., start : start + _STRETCH] @ right[..., start : start + _STRETCH, :]
        for start in range(0, left.shape[-1], _STRETCH)
    ]
    return sum(parts[1:], parts[0])


#: N x n x n float32 images -> N x scales x angles x 2 x n x n float32; by torch, on its device
Filters = Callable[[np.ndarray], Any]


def make_filters(kernels: list[list[np.ndarray]], side: int, backend: str) -> Filters:
    """Return what filters images of side x side pixels: see gains() and filtered().

    `backend`: "numpy", "torch" or "cuda". Raises InputError if it cannot be had.
    """
    on, by = basis(side), gains(kernels, side)
    shape = (len(kernels), 2 * (len(kernels[0]) - 1), 2, side, side)

    def by_numpy(images: np.ndarray) -> np.ndarray:
        out = np.empty((len(images), *shape), np.float32)
        filtered(images, on, by, out)
        return out

    if backend == "numpy":
        return by_numpy
    run = TorchBackend(backend)

    on, by = Basis(*map(run.there, on)), Gains(*map(run.there, by))

    def by_torch(images: np.ndarray) -> Any:
        with run.running() as torch, in_float32():
            out = torch.empty((len(images), *shape), dtype=torch.float32, device=run.device)
            filtered(run.there(images), on, by, out)
            return out

    return by_torch
