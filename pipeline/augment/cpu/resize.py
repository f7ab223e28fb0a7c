"""Crop and antialiased bilinear resize: Pillow's triangle filter in 16-bit fixed point.

Pixels are Q8 (value * 256) in uint16, weights Q16 with a sum of 65536, of products the high half is
kept: no rounding to 8 bits before the very end. Rows are filtered first, on contiguous bytes, 32
rows of the view at a time; these are transposed to [x][channel][y], where filtering along x is
contiguous as well.
"""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from .compiling import inlined, kernel
from .tiles import BLOCK, STRIP_ROWS, turn_strip
from .vectors import (
    LANES,
    add,
    load,
    load_bytes,
    load_first_bytes,
    multiply,
    multiply_high,
    narrow,
    shift_left,
    shift_right,
    splat,
    splat_wide,
    store,
    widen,
)

ROWS, COLUMNS = 0, 1  # axes of `Scratch.taps`
_START, _COUNT, _FIRST = 0, 1, 2  # its last axis
_ONE = 65536.0  # Q16
_GROUP = 4 * LANES
# Each product loses half a unit of Q8 on average, which is given back beforehand. Beyond this many
# taps the sums are kept in 32 bits instead.
_MAX_NARROW_TAPS = 16


@kernel
def find_taps(extent, resized, skip, axis, used, taps, weights):
    """Taps and weights of outputs skip, skip + 1, … of `resized` along an axis of `extent` px.

    The weights are rounded by their running sum, so that their total is exactly 65536 (a lone tap
    has 65535). Returns the number of weights in use, `used` being those of before.
    """
    scale = extent / resized
    support = max(scale, 1.0)
    slope = 1.0 / support
    for output in range(taps.shape[1]):
        center = (skip + output + 0.5) * scale
        low = int(max(center - support + 0.5, 0.0))
        high = int(min(center + support + 0.5, float(extent)))
        total = 0.0
        for pixel in range(low, high):
            total += max(1.0 - abs(pixel + 0.5 - center) * slope, 0.0)
        to_fixed = _ONE / total
        taps[axis, output, _START] = low
        taps[axis, output, _FIRST] = used
        count = 0
        running = 0.0
        given = 0
        for pixel in range(low, high):
            running += max(1.0 - abs(pixel + 0.5 - center) * slope, 0.0)
            upto = int(running * to_fixed + 0.5)
            if count == 0 and upto == 0:
                taps[axis, output, _START] = pixel + 1
                continue
            weights[used + count] = min(upto - given, 65535)
            given = upto
            count += 1
        while weights[used + count - 1] == 0:
            count -= 1
        taps[axis, output, _COUNT] = count
        used += count
    return used


@inlined
def _filter_group(image, at, row_bytes, count, weights, first, strip, to):
    """128 neighbouring bytes of the window: the weighted sum over `count` rows."""
    a = b = c = d = splat(count >> 1)
    eight = splat(8)
    for tap in range(count):
        weight = splat(weights[first + tap])
        a = add(a, multiply_high(shift_left(load_bytes(image, at), eight), weight))
        b = add(b, multiply_high(shift_left(load_bytes(image, at + 32), eight), weight))
        c = add(c, multiply_high(shift_left(load_bytes(image, at + 64), eight), weight))
        d = add(d, multiply_high(shift_left(load_bytes(image, at + 96), eight), weight))
        at += row_bytes
    store(strip, to, a)
    store(strip, to + 32, b)
    store(strip, to + 64, c)
    store(strip, to + 96, d)


@inlined
def _filter_vector(image, at, row_bytes, count, weights, first, strip, to):
    """As `_filter_group`, for 32 bytes."""
    a = splat(count >> 1)
    eight = splat(8)
    for tap in range(count):
        weight = splat(weights[first + tap])
        a = add(a, multiply_high(shift_left(load_bytes(image, at), eight), weight))
        at += row_bytes
    store(strip, to, a)


@inlined
def _filter_bytes(image, at, row_bytes, count, weights, first, strip, to, num_bytes):
    """As `_filter_vector` for up to 32 bytes and any number of taps."""
    wide = splat_wide(128)
    for tap in range(count):
        if num_bytes >= LANES:
            pixels = load_bytes(image, at)
        else:
            pixels = load_first_bytes(image, at, num_bytes)
        wide = add(wide, multiply(widen(pixels), splat_wide(weights[first + tap])))
        at += row_bytes
    store(strip, to, narrow(shift_right(wide, splat_wide(8))))


@kernel
def _filter_rows(image, at, row_bytes, count, weights, first, strip, to, num_bytes):
    """One row of the view: the weighted sum over `count` rows of the window, `num_bytes` wide."""
    done = 0
    is_narrow = count <= _MAX_NARROW_TAPS and num_bytes >= LANES
    if is_narrow:
        while done + _GROUP <= num_bytes:
            _filter_group(image, at + done, row_bytes, count, weights, first, strip, to + done)
            done += _GROUP
    while done < num_bytes:
        if num_bytes >= LANES:
            # Nothing beyond the window is read: some bytes are done twice instead.
            done = min(done, num_bytes - LANES)
        source, target = at + done, to + done
        if is_narrow:
            _filter_vector(image, source, row_bytes, count, weights, first, strip, target)
        else:
            left = num_bytes - done
            _filter_bytes(image, source, row_bytes, count, weights, first, strip, target, left)
        done += LANES


@inlined
def _filter_columns(turned, at, count, weights, first, columns, to, pitch):
    """32 pixels of one column of the view, all channels: the weighted sum over `count` columns."""
    red = green = blue = splat(count >> 1)
    for tap in range(count):
        weight = splat(weights[first + tap])
        red = add(red, multiply_high(load(turned, at), weight))
        green = add(green, multiply_high(load(turned, at + 32), weight))
        blue = add(blue, multiply_high(load(turned, at + 64), weight))
        at += 3 * STRIP_ROWS
    store(columns, to, red)
    store(columns, to + pitch, green)
    store(columns, to + 2 * pitch, blue)


@inlined
def _filter_columns_wide(turned, at, count, weights, first, columns, to, pitch):
    for channel in range(3):
        wide = splat_wide(32768)
        position = at + channel * STRIP_ROWS
        for tap in range(count):
            weight = splat_wide(weights[first + tap])
            wide = add(wide, multiply(widen(load(turned, position)), weight))
            position += 3 * STRIP_ROWS
        pixels = narrow(shift_right(wide, splat_wide(16)))
        store(columns, to + channel * pitch, pixels)


@kernel
def crop_and_resize(image, params, size, scratch):
    """Fill `scratch.columns` with the view, flipped if `params.flip`.

    Args:
        image: (H, W, 3) uint8, C-contiguous; only the window is read.
        params: record of `sampler.PARAMS`; the window lies within the image.
        size: side of the view, px.
        scratch: big enough for the window.
    """
    strip, turned, taps, weights = scratch.strip, scratch.turned, scratch.taps, scratch.weights
    used = find_taps(
        params.height, params.resized_height, params.offset_top, ROWS, 0, taps, weights
    )
    find_taps(params.width, params.resized_width, params.offset_left, COLUMNS, used, taps, weights)
    left = taps[COLUMNS, 0, _START]
    num_bytes = 3 * (taps[COLUMNS, size - 1, _START] + taps[COLUMNS, size - 1, _COUNT] - left)
    # An odd number of cache lines: no two rows of a tile compete for the same ones.
    strip_pitch = ((num_bytes + LANES - 1) // LANES | 1) * LANES
    row_bytes = 3 * image.shape[1]
    corner = params.top * row_bytes + 3 * (params.left + left)
    pitch = (size + LANES - 1) // LANES * LANES
    for top in range(0, size, STRIP_ROWS):
        for row in range(min(STRIP_ROWS, size - top)):
            at = corner + taps[ROWS, top + row, _START] * row_bytes
            count, first = taps[ROWS, top + row, _COUNT], taps[ROWS, top + row, _FIRST]
            to = row * strip_pitch
            _filter_rows(image, at, row_bytes, count, weights, first, strip, to, num_bytes)
        for column in range(0, num_bytes, BLOCK):
            turn_strip(strip, column, strip_pitch, turned, STRIP_ROWS * column)
        for x in range(size):
            at = (taps[COLUMNS, x, _START] - left) * 3 * STRIP_ROWS
            count, first = taps[COLUMNS, x, _COUNT], taps[COLUMNS, x, _FIRST]
            to = (size - 1 - x if params.flip else x) * 3 * pitch + top
            if count <= _MAX_NARROW_TAPS:
                _filter_columns(turned, at, count, weights, first, scratch.columns, to, pitch)
            else:
                _filter_columns_wide(turned, at, count, weights, first, scratch.columns, to, pitch)
