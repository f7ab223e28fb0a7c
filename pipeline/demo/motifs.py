"""The demo set's pictures: ten patterns, each printed large and in changing colours.

A pattern is a function of the plane: `field(u, v)`, with u and v in motifs, is about the distance
to the motif's edge (in motifs, positive inside). Only the pattern tells the class: colours,
contrast, size, tilt, position, stroke and which of the two layers is the brighter are drawn for
each picture. Within one picture the colours run through the whole circle: two crops of it share
little but the pattern, which is what SimSiam is to find.
"""

import colorsys
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

MIN_SIDE, MAX_SIDE = 333, 560
"""Sides of a picture in pixels, drawn independently, so that its shape varies as well."""
_MOTIF_SIDES = (0.13, 0.20)
"""Side of a motif, in sides of a square as large as the picture."""
_MAX_TILT_DEG = 12.0
_MAX_STROKE = 0.03
"""By how much a motif's edge is moved outwards or inwards, in motifs."""
_EDGE_PX = 1.5
"""Width of the smooth edge in the picture."""
_BRIGHTNESS = (0.45, 0.55)
_CONTRAST = (0.6, 1.0)
_COLOUR_GRID = 6
"""Colours along a side, blended into each other; many, or crops could be told by their colours."""

_MOTIF_PX = 64
_SHEET_PX = 16 * _MOTIF_PX
_LEVELS_PER_MOTIF = 510.0
"""Grey levels of a sheet for each motif of distance: 127.5 at the edge, full a quarter away."""

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _cells(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates from the middle of the cell, -0.5…0.5; every other row is half a cell further."""
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
    """Two rectangular lattices of hexagons, each around the corners of the other."""
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
    return np.abs((u + 0 * v) % 1 - 0.5) - 0.25  # 0 * v: the shape of both


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

CLASSES = tuple(FIELDS)
"""Class names, sorted: the position is the label."""


def draw_picture(seed: int, index: int) -> Image.Image:
    """Picture `index` of the set: RGB, of class `index % 10`; a pure function of its arguments."""
    random = np.random.default_rng((seed, index))
    width, height = (int(side) for side in random.integers(MIN_SIDE, MAX_SIDE + 1, 2))
    motif_px = np.exp(random.uniform(*np.log(_MOTIF_SIDES))) * np.sqrt(width * height)
    mask = _print_pattern(random, CLASSES[index % len(CLASSES)], (width, height), motif_px)
    middle, contrast = random.uniform(*_BRIGHTNESS), random.uniform(*_CONTRAST)
    bright = _draw_colours(
        random, (width, height), (middle + 0.15 * contrast, min(1.0, middle + 0.5 * contrast))
    )
    dark = _draw_colours(
        random, (width, height), (max(0.03, middle - 0.5 * contrast), middle - 0.15 * contrast)
    )
    layers = (bright, dark) if random.random() < 0.5 else (dark, bright)
    return Image.composite(*layers, mask)


def _print_pattern(
    random: np.random.Generator, name: str, size: tuple[int, int], motif_px: float
) -> Image.Image:
    """A cut from the pattern's sheet, its place, tilt and stroke random: L, 255 in the motif."""
    scale = _MOTIF_PX / motif_px
    tilt = np.deg2rad(random.uniform(-_MAX_TILT_DEG, _MAX_TILT_DEG))
    turn = scale * np.array(((np.cos(tilt), -np.sin(tilt)), (np.sin(tilt), np.cos(tilt))))
    centre = _SHEET_PX / 2 + random.uniform(-2, 2, 2) * _MOTIF_PX
    start = centre - turn @ np.array(size) / 2
    affine = (*turn[0], start[0], *turn[1], start[1])
    cut = _sheet(name).transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    stroke = random.uniform(-_MAX_STROKE, _MAX_STROKE)
    inside_px = ((np.arange(256) - 127.5) / _LEVELS_PER_MOTIF + stroke) * motif_px
    return cut.point(np.clip(255 * (0.5 + inside_px / _EDGE_PX), 0, 255).astype(int).tolist())


def _draw_colours(
    random: np.random.Generator, size: tuple[int, int], values: tuple[float, float]
) -> Image.Image:
    """Random colours that run into each other; `values` is the range of HSV's V, 0…1."""
    low, high = zip((0.0, 1.0), (0.2, 0.95), values, strict=True)
    colours = random.uniform(low, high, (_COLOUR_GRID**2, 3)).tolist()
    grid = np.array([colorsys.hsv_to_rgb(*colour) for colour in colours])
    grid = (255 * grid).astype(np.uint8).reshape(_COLOUR_GRID, _COLOUR_GRID, 3)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


@cache
def _sheet(name: str) -> Image.Image:
    """The pattern at 64 px a motif, mode L: grey levels are distances to the edge. Takes 30 ms."""
    axis = (np.arange(_SHEET_PX, dtype=np.float32) + 0.5) / _MOTIF_PX
    field = FIELDS[name](axis[None, :], axis[:, None])
    return Image.fromarray(np.clip(127.5 + _LEVELS_PER_MOTIF * field, 0, 255).astype(np.uint8))
