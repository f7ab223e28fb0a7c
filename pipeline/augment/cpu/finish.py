"""The end of a view: colours, blur, transposition to pixels, normalisation, the output's dtype."""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from .blur import blur_columns, prepare_blur
from .colour import begin_colours, end_colours
from .compiling import kernel
from .tiles import BLOCK, OUT_ROWS, write_tile
from .vectors import LANES


@kernel
def _write_columns(source, at, left, width, size, pitch, constants, out):
    """Write `width` columns of the view, which `source` holds from `at` on, left-most at `left`."""
    for block in range(0, size, BLOCK):
        y = min(block, size - BLOCK)  # the last tiles may overlap those before
        for group in range(0, 3 * width, OUT_ROWS):
            row = min(group, 3 * width - OUT_ROWS)
            to = (y * size + left) * 3 + row
            write_tile(source, at + row * pitch + y, pitch, out, to, 3 * size, constants, row % 3)


@kernel
def finish(params, size, scratch, constants, out):
    """Colours, blur, and the pixels as they are delivered, 16 columns at a time while these are in
    the cache. Crops are only written.

    Args:
        params: record of `sampler.PARAMS`.
        size: side of the view, px, at least 8.
        scratch: holds the view in `columns`.
        constants: of `make_constants`.
        out: (size, size, 3), C-contiguous: float32, uint16 (holding bfloat16), or uint8 (rounded,
            not normalised).
    """
    pitch = (size + LANES - 1) // LANES * LANES
    is_crop = out.itemsize == 1
    reach = 0 if is_crop else prepare_blur(params.blur_sigma, scratch.blur_weights)
    begun = 0 if is_crop else begin_colours(params, size, scratch)
    coloured = size if is_crop else 0
    width = min(OUT_ROWS, size)
    for strip in range(0, size, width):
        left = min(strip, size - width)
        needed = min(left + width + reach, size)  # the blur looks so far ahead
        if coloured < needed:
            end_colours(params, begun, coloured, needed, size, scratch)
            coloured = needed
        if reach > 0:
            blur_columns(left, width, size, pitch, reach, scratch)
            _write_columns(scratch.blurred, 0, left, width, size, pitch, constants, out)
        else:
            at = left * 3 * pitch
            _write_columns(scratch.columns, at, left, width, size, pitch, constants, out)
