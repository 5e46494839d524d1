"""The demo's useful source images: letters and signs of OpenCV's Hershey fonts, as if written.

OpenCV 5 draws the Hershey names with a TrueType font of its own; the demo works with either, and
its summary records which OpenCV drew the glyphs.

Digits are not among the classes, and neither are letters drawn as a digit is (I, O, l, o and the
bar): the source must help by its strokes, not by showing the target's classes under other names.
"""

from __future__ import annotations

import cv2
import numpy as np

from sjft.randomness import scale_to_integers, uniform
from sjft_tools.demo.digits import CELL_MAX, SIZE, enlarge

UPPER = "ABCDEFGHJKLMNPQRSTUVWXYZ"
# Only lower-case letters whose shape differs from the capital's once both fill the image.
LOWER = "abdefghmnqrt"
SIGNS = {
    "&": "ampersand",
    "#": "hash",
    "*": "asterisk",
    "+": "plus",
    "<": "less",
    ">": "greater",
    "=": "equals",
    "?": "question",
    "@": "at",
    "%": "percent",
    "$": "dollar",
    "{": "brace",
}
CHARACTERS = UPPER + LOWER + "".join(SIGNS)
CLASS_NAMES = (
    [f"glyph_upper_{c}" for c in UPPER]
    + [f"glyph_lower_{c}" for c in LOWER]
    + [f"glyph_sign_{name}" for name in SIGNS.values()]
)

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)
CANVAS = 2 * SIZE  # glyphs are bent and thickened at twice the final size, then counted into cells
DRAWS = 32  # uniforms set aside for one image


def outline(character: str, font: int) -> np.ndarray:
    """Return the character cut to its ink, h x w uint8 (ink 255), about 64 pixels high."""
    page = np.zeros((192, 224), np.uint8)
    cv2.putText(page, character, (48, 128), font, 2.5, 255, 2, cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(page)
    return page[y : y + h, x : x + w]


def stroke_width(ink: np.ndarray) -> float:
    """Return an outline's stroke width in pixels: four times the mean depth, as in a long band.

    `ink`: of outline().
    """
    framed = cv2.copyMakeBorder((ink > 127).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)
    return 4 * float(depth[depth > 0].mean())


def _placement(shape: tuple[int, int], u: np.ndarray) -> np.ndarray:
    """Return the 2 x 3 affine map from an outline to the canvas; `u` holds six uniforms.

    Height about the whole canvas, as the digits fill theirs; width, slant, turn and place vary.
    """
    height = CANVAS * (0.78 + 0.2 * u[0])
    width = height * (0.45 + 0.4 * u[1])
    turn = np.deg2rad(-12 + 24 * u[2])
    slant = -0.3 + 0.6 * u[3]
    scale = np.diag([width / shape[1], height / shape[0]])
    shear = np.array([[1.0, slant], [0.0, 1.0]])
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotate @ shear @ scale
    centre = CANVAS / 2 + CANVAS * 0.06 * (2 * u[4:6] - 1)
    offset = centre - matrix @ np.array([shape[1] / 2, shape[0] / 2])
    return np.hstack([matrix, offset[:, None]])


def _draw(
    ink: np.ndarray, width: float, u: np.ndarray, grid: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return one written-looking glyph as c x c ink counts in 0..16; `u` holds DRAWS uniforms."""
    flat = cv2.warpAffine(ink, _placement(ink.shape, u[:6]), (CANVAS, CANVAS))
    bend = (u[6:24].reshape(2, 3, 3).astype(np.float32) - 0.5) * (CANVAS * 0.22)
    shift = [cv2.resize(b, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC) for b in bend]
    bent = cv2.remap(flat, grid[0] + shift[0], grid[1] + shift[1], cv2.INTER_LINEAR)
    wanted = 6 + 7 * u[24]  # stroke width in canvas pixels; the digits' is about 8
    pen = 1 + max(0, round(float(wanted - width * CANVAS / ink.shape[0])))
    thick = cv2.dilate(bent, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pen, pen)))
    soft = cv2.GaussianBlur(thick, (0, 0), 0.5 + 1.5 * float(u[25]))
    cells = 8 if u[26] < 0.5 else 9 + int(6 * u[27])  # half at the digits' own coarseness
    counts = cv2.resize(soft.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    pressure = 0.95 + 0.5 * u[28]
    return np.clip(np.rint(counts * (pressure * CELL_MAX / 255)), 0, CELL_MAX)


def draw_glyphs(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `per_class` images of each glyph, N x 32 x 32 uint8 (white ink), and int64 labels."""
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
    images: list[np.ndarray] = []
    for number, character in enumerate(CHARACTERS):
        outlines = [outline(character, font) for font in FONTS]
        u = uniform(seed, "demo glyphs", number, size=per_class * DRAWS).reshape(per_class, DRAWS)
        fonts = scale_to_integers(u[:, 31], len(FONTS))
        widths = [stroke_width(ink) for ink in outlines]
        drawn = [_draw(outlines[f], widths[f], row, (x, y)) for f, row in zip(fonts, u)]
        images.extend(enlarge(cells[None])[0] for cells in drawn)
    return np.stack(images), np.repeat(np.arange(len(CHARACTERS)), per_class)
