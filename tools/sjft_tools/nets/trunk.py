"""What joint training needs to know of a backbone, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets.text import Item


@dataclass(frozen=True)
class Trunk:
    """Both tasks' layers: from `data` (N x 3 x H x W) to `top` (N x features [x 1 x 1])."""

    items: list[Item]
    top: str
