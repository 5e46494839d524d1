"""The filter banks of the method, section 1, by name."""

from __future__ import annotations

from sjft.errors import InputError
from sjft_tools.banks.bank import Bank
from sjft_tools.banks.torch_backend import best_device

#: What can compute a bank's responses. They agree to 1e-4 of the largest response, not to the bit.
BACKENDS = ("auto", "caffe", "caffe-gpu", "numpy", "torch", "cuda")
#: bank -> those of the backends that compute it
_BACKENDS_OF = {
    "alexnet": ("caffe", "caffe-gpu", "torch", "cuda"),
    "gabor": ("numpy", "torch", "cuda"),
}
#: bank -> the size that images are warped to unless the user asks for another
DEFAULT_RESIZE = {"alexnet": 256, "gabor": 64}


def make_bank(
    name: str,
    weights: str | None = None,
    resize: int | None = None,
    resolution: int | None = None,
    backend: str = "auto",
) -> Bank:
    """Return the bank `name`, one of DEFAULT_RESIZE.

    `weights`: the file with AlexNet's first two layers, for that bank only; `resize`: the side in
    pixels that images are warped to, None for the bank's default; `resolution`: the side that
    larger images are reduced to before that, None for none; `backend`: one of BACKENDS, "auto" for
    the fastest that there is; the bank's attribute `backend` says which. Raises InputError if the
    weights are missing, unwanted or unusable, the size is too small, or the backend cannot be had
    or does not compute this bank.
    """
    resize = DEFAULT_RESIZE[name] if resize is None else resize
    if name == "alexnet":
        if weights is None:
            raise InputError(
                "the alexnet bank needs --weights: a .caffemodel with layers conv1 and conv2, or "
                "an .npz with conv1_w, conv1_b, conv2_w, conv2_b ('sjft models' says where AlexNet "
                "is published; --bank gabor needs none)"
            )
    elif weights is not None:
        raise InputError(f"the {name} bank has no learnt weights: leave out --weights {weights}")
    if backend == "auto":
        backend = _fastest(name, resize)
    if backend not in _BACKENDS_OF[name]:
        raise InputError(
            f"the {name} bank has no backend {backend}: expected one of auto, "
            f"{', '.join(_BACKENDS_OF[name])}"
        )
    # Imported here, for each needs what the others do without.
    if weights is None:
        from sjft_tools.banks.gabor import GaborBank

        return GaborBank(resize, resolution, backend)
    if backend in ("torch", "cuda"):
        from sjft_tools.banks.alexnet_torch import TorchAlexNetBank

        return TorchAlexNetBank(weights, resize, resolution, backend)
    from sjft_tools.banks.alexnet_caffe import CaffeAlexNetBank

    return CaffeAlexNetBank(weights, resize, resolution, backend)


def _fastest(name: str, resize: int) -> str:
    if name == "gabor" and resize <= DEFAULT_RESIZE[name]:
        return "numpy"  # as fast on so small images, and torch takes seconds to import
    return best_device() or ("numpy" if name == "gabor" else "caffe")
