"""The published ways to show a test image: one crop, ten crops, or densely at several scales.

- ``1``: the shorter side scaled to 256 pixels, the central crop (He et al. 2016, "1-crop").
- ``10``: of the same scaled image the four corners and the centre, each mirrored as well
  (Krizhevsky et al. 2012; He et al. 2016, "10-crop").
- ``dense``: the whole image, and its mirror image, at several scales, for nets that take any size
  (Simonyan & Zisserman 2015, section 3.2).

An image's scores are the mean of the softmax over its views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from sjft.images import decode_datum_reduced
from sjft.transforms import Geometry, central_view, resized_shape

ONE, TEN, DENSE = "1", "10", "dense"


class Protocol(NamedTuple):
    """How images are shown. Sizes in pixels.

    `crops`: ONE, TEN or DENSE. For crops, `crop` is their side, and images are warped to the square
    `resize`, or their shorter side is scaled to `shorter`, or with neither keep their size. For
    DENSE, `scales` are the lengths of the shorter side. `mean`: B, G, R.
    """

    crops: str
    resize: int | None
    shorter: int | None
    scales: tuple[int, ...]
    crop: int
    mean: tuple[float, ...]

    @property
    def view_count(self) -> int:
        """Views per image."""
        return {ONE: 1, TEN: 10, DENSE: 2 * len(self.scales)}[self.crops]

    def views(self, value: bytes, name: str) -> list[np.ndarray]:
        """Return the views of the image in a Datum record: float32 3 x H x W, BGR.

        For TEN: top left, top right, bottom left, bottom right, centre, then these mirrored. For
        DENSE, by scale: the image and its mirror image. The mean is subtracted. Raises
        BadImageError naming the record `name` if it cannot be decoded or is too small for the crop.
        """
        if self.crops == DENSE:
            wholes = [self._scaled(value, name, None, scale) for scale in self.scales]
            return [view for whole in wholes for view in (whole, whole[:, :, ::-1])]
        image = self._scaled(value, name, self.resize, self.shorter)
        geometry = Geometry(None, None, self.crop, mirror=False)
        height, width = image.shape[1:]
        centre = central_view(height, width, geometry, name)
        corners = [(centre.top, centre.left)]
        if self.crops == TEN:
            bottom, right = height - self.crop, width - self.crop
            corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), *corners]
        crops = [image[:, y : y + self.crop, x : x + self.crop] for y, x in corners]
        return crops + ([crop[:, :, ::-1] for crop in crops] if self.crops == TEN else [])

    def _scaled(
        self, value: bytes, name: str, resize: int | None, shorter: int | None
    ) -> np.ndarray:
        """Return the whole image, resized, mean subtracted: float32 3 x H x W."""

        def resized(height: int, width: int) -> tuple[int, int]:
            return resized_shape(height, width, resize, shorter)

        image = decode_datum_reduced(value, name, resized)
        height, width = resized(image.height, image.width)
        pixels = image.pixels
        if pixels.shape[:2] != (height, width):
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        planes: np.ndarray = pixels.transpose(2, 0, 1)
        return planes - np.array(self.mean, np.float32)[:, None, None]

    def words(self) -> str:
        """Return the protocol in a few words."""
        if self.crops == DENSE:
            scales = ", ".join(map(str, self.scales))
            return f"whole images and their mirror images, shorter side {scales}"
        if self.resize is not None:
            size = f"warped to {self.resize} x {self.resize}"
        else:
            size = "stored size" if self.shorter is None else f"shorter side {self.shorter}"
        parts = "centre" if self.crops == ONE else "corners and centre, and mirrored,"
        return f"{size}, {parts} {self.crop} x {self.crop}"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Protocol:
        """Return the protocol that as_json made `values` of; more values do not matter."""
        return cls(
            values["crops"],
            values["resize"],
            values["resize_shorter"],
            tuple(values["scales"]),
            values["crop"] or 0,
            tuple(values["mean"]),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the protocol as JSON values. A DENSE one has no crop."""
        return {
            "crops": self.crops,
            "resize": self.resize,
            "resize_shorter": self.shorter,
            "scales": list(self.scales),
            "crop": None if self.crops == DENSE else self.crop,
            "mean": list(self.mean),
        }
