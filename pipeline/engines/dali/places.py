"""Where in a picture DALI finds each view: what its cropping graph is given beside the bytes."""

import numpy as np

from .samples import Piece

PLACEHOLDER = np.frombuffer(b"P6 1 1 255\n\0\0\0", np.uint8)
"""A picture of one pixel, where there is nothing for DALI to decode."""

NUM_PLACES = 4
"""Arrays of `find_places`."""


def find_places(params: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Where in the picture each view lies, as (y, x) in px.

    Args:
        params: (N,) records of `sampler.PARAMS`.
        size: side of the view, px.

    Returns:
        corner and extent of the window, each (N, 2) int32 (DALI's slices take no other), then start
        and end of the view in the window, each (N, 2) float32. A random crop is all of its window;
        an evaluation view is the middle of it, at a fractional place.
    """
    corner = np.stack([params["top"], params["left"]], 1)
    extent = np.stack([params["height"], params["width"]], 1)
    scale = extent / np.stack([params["resized_height"], params["resized_width"]], 1)
    start = scale * np.stack([params["offset_top"], params["offset_left"]], 1)
    end = start + size * scale
    return corner, extent, start.astype(np.float32), end.astype(np.float32)


def find_places_of_piece(piece: Piece, sizes: tuple[int, ...]) -> list[list[np.ndarray]]:
    """`find_places` for each view of all samples of a piece, those of `PLACEHOLDER` among them.

    Args:
        piece: whose plain samples' parameters are drawn.
        sizes: side of each view, px.
    """
    is_plain = np.array([sample.plain is not None for sample in piece.samples])
    places = []
    for params, size in zip(piece.rows.params[:, piece.start : piece.stop], sizes, strict=True):
        placed = params.copy()
        for name in ("top", "left", "offset_top", "offset_left"):
            placed[name][~is_plain] = 0
        for name, length in (
            ("height", 1), ("width", 1), ("resized_height", size), ("resized_width", size)
        ):  # fmt: skip
            placed[name][~is_plain] = length
        places += [list(place) for place in find_places(placed, size)]
    return places
