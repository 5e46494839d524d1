"""The scores that an unfinished run has: a file for every finished chunk in its work folder."""

from __future__ import annotations

import io

import numpy as np

from sjft_tools.work_folder import Kept


class KeptScores:
    """Scores by chunk, float32 images x classes, kept as ``000017.npy``."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def load(self, chunk: int) -> np.ndarray | None:
        """Return the scores of chunk number `chunk`, None if it is not finished."""
        content = self._kept.load(f"{chunk:06}.npy")
        if content is None:
            return None
        scores: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
        return scores

    def save(self, chunk: int, scores: np.ndarray) -> None:
        """Keep the scores of chunk number `chunk`."""
        content = io.BytesIO()
        np.save(content, scores, allow_pickle=False)
        self._kept.save(f"{chunk:06}.npy", content.getvalue())
