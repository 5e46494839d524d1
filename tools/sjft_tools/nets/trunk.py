"""What joint training needs to know of a backbone, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets.text import Item


@dataclass(frozen=True)
class Trunk:
    """Both tasks' layers: from `data` (N x 3 x H x W) to `top` (N x features [x 1 x 1]).

    `dense`: the same layers with the same weights for images of any size, from `data` to
    `dense_top` (N x features x H' x W'), which holds the features of every window as large as a
    training crop. Both are None where `items` do that as they are, because they end in a pooling of
    fixed size and stride 1.
    """

    items: list[Item]
    top: str
    features: int
    dense: list[Item] | None = None
    dense_top: str | None = None

    def for_any_size(self) -> Trunk:
        """The trunk whose layers take images of any size."""
        if self.dense is None:
            return self
        return Trunk(self.dense, self.dense_top or self.top, self.features)
