"""Arrays as .npy; what is wrong with an .npz file, which numpy and zipfile tell in many ways."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np


def npy_bytes(array: np.ndarray) -> bytes:
    """Return what np.save writes; to a file it would hide in its error that the disk is full."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def npz_problem(path: str, error: Exception) -> str:
    """Return why the file `path` could not be read as .npz, where reading it raised `error`."""
    if os.path.isdir(path):
        return "it is a folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not zipfile.is_zipfile(path):
        return "it is no .npz file, or cut short"
    if isinstance(error, KeyError):  # "scores is not a file in the archive"
        return f"it holds no '{str(error.args[0]).split()[0]}'"
    return str(error)
