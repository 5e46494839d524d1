"""The filter banks of the method, section 1, by name."""

from __future__ import annotations

from sjft.errors import InputError
from sjft_tools.banks.bank import Bank

#: What can compute a bank's responses. They agree to 1e-4 of the largest response, not to the bit.
BACKENDS = ("auto", "caffe", "caffe-gpu", "numpy", "torch", "cuda")
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
    weights are missing, unwanted or unusable, or the size is too small.
    """
    resize = DEFAULT_RESIZE[name] if resize is None else resize
    if name == "alexnet":
        if weights is None:
            raise InputError(
                "the alexnet bank needs --weights: a .caffemodel with layers conv1 and conv2, or "
                "an .npz with conv1_w, conv1_b, conv2_w, conv2_b"
            )
        # Imported here, for only this bank needs pycaffe.
        from sjft_tools.banks.alexnet import AlexNetBank

        return AlexNetBank(weights, resize, resolution)
    if weights is not None:
        raise InputError(f"the {name} bank has no learnt weights: leave out --weights {weights}")
    from sjft_tools.banks.gabor import GaborBank

    return GaborBank(resize, resolution)
