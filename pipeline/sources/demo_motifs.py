"""The ten patterns of the demo set, each a seamless sheet of cloth to be cut from.

A pattern is a function of the plane: `field(u, v)`, with u and v in motifs, positive inside the motif and
negative outside, steep at the edge. Only shape is here; colours, sizes and turns come with the cutting.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

MOTIF_PX = 64
"""Side of one motif on a sheet, in pixels; about the largest at which pictures show it."""
_MOTIFS_PER_SHEET = 16

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _cells(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in -0.5…0.5 from the middle of the cell; every other row is moved by half a cell."""
    row = np.floor(v)
    return (u + 0.5 * (row % 2)) % 1 - 0.5, v - row - 0.5


def _polar(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius and angle (radians, 0 upwards) around the middles of cells of two by two motifs."""
    x, y = _cells(u / 2, v / 2)
    return 2 * np.hypot(x, y), np.arctan2(x, -y)


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = _cells(u / 1.6, v / 0.8)
    return np.minimum(1.6 * (0.5 - np.abs(x)), 0.8 * (0.5 - np.abs(y))) - 0.07


def _checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 2 * np.sin(np.pi * u) * np.sin(np.pi * v) / np.pi


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.32 - np.hypot(*_cells(u, v))


def _hearts(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A square on its tip, with half a disc on each of its upper edges."""
    x, y = _cells(u / 1.25, v / 1.25)
    x, y = 1.25 * np.abs(x), 1.25 * y + 0.08
    tip = 0.42
    square = (tip - x - np.abs(y)) * np.sqrt(0.5)
    disc = tip * np.sqrt(0.5) - np.hypot(x - tip / 2, y + tip / 2)
    return np.maximum(square, disc)


def _honeycomb(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Walls lie where the two nearest middles of a triangular lattice are equally far."""
    tall = np.sqrt(3.0)
    near = []
    for shift in (0.0, 0.5):
        x = (u + shift) % 1 - 0.5
        y = ((v / tall + shift) % 1 - 0.5) * tall
        near.append(_hexagon(x, y))
    return np.maximum(*near) - 0.08


def _hexagon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the wall of the hexagon around the origin, positive inside; inner radius 0.5."""
    return 0.5 - np.maximum(np.abs(x), 0.5 * np.abs(x) + np.sqrt(0.75) * np.abs(y))


def _rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    radius, _ = _polar(u, v)
    return np.minimum(0.17 - np.abs((radius - 0.05) % 0.6 - 0.3), 0.98 - radius)


def _spirals(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    radius, angle = _polar(u, v)
    arm = np.abs((radius / 0.55 - angle / (2 * np.pi)) % 1 - 0.5)
    return np.minimum(0.55 * (0.27 - arm), 0.98 - radius)


def _stars(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Ten equal edges, folded onto one: from a tip at angle 0 to a notch at a tenth of a turn."""
    x, y = _cells(u / 1.25, v / 1.25)
    radius, angle = 1.25 * np.hypot(x, y), np.arctan2(x, -y)
    folded = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    tip, notch = 0.58, 0.25
    edge = np.array((notch * np.cos(np.pi / 5) - tip, notch * np.sin(np.pi / 5)))
    normal_x, normal_y = edge[::-1] * (1, -1) / np.hypot(*edge)
    return normal_x * (tip - radius * np.cos(folded)) - normal_y * radius * np.sin(folded)


def _stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs((u + 0 * v) % 1 - 0.5) - 0.25


def _zigzags(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    ridge = np.abs((u / 1.6) % 1 - 0.5) * 1.6
    return np.abs((v + ridge) % 1 - 0.5) - 0.25


FIELDS: dict[str, Field] = {
    "bricks": _bricks,
    "checks": _checks,
    "dots": _dots,
    "hearts": _hearts,
    "honeycomb": _honeycomb,
    "rings": _rings,
    "spirals": _spirals,
    "stars": _stars,
    "stripes": _stripes,
    "zigzags": _zigzags,
}


@cache
def sheet(name: str) -> Image.Image:
    """The pattern, 255 inside the motif and 0 outside, smooth at the edges; mode L, 1,024 pixels square."""
    side = _MOTIFS_PER_SHEET * MOTIF_PX
    axis = (np.arange(side, dtype=np.float32) + 0.5) / MOTIF_PX
    field = FIELDS[name](axis[None, :], axis[:, None])
    return Image.fromarray(np.clip(127.5 + 510 * field, 0, 255).astype(np.uint8))
