"""Colour jitter in its drawn order and grayscale, in place on the columns of `Scratch`.

torchvision's definitions: contrast blends with the mean of the gray picture, hue turns the colour
in HSV. 32 pixels at a time stay in registers through all operations; two sweeps at most, since
contrast must know the mean over the picture as the operations before it leave it.
"""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import numpy as np

from ..sampler import CONTRAST, HUE, SATURATION
from .compiling import inlined, kernel
from .vectors import (
    LANES,
    add,
    distance,
    keep_first,
    load,
    maximum,
    minimum,
    multiply_high,
    multiply_high_signed,
    select_equal,
    shift_left,
    shift_right,
    splat,
    splat_wide,
    store,
    sub,
    sub_saturated,
    total,
    widen,
)

_WHITE = 65280  # 255 in Q8
_ONE = 65536.0  # Q16
_NUM_OPS = 4

# torchvision's weights of gray, Q16
_RED = round(0.2989 * _ONE)
_GREEN = round(0.587 * _ONE)
_BLUE = round(0.114 * _ONE)


@inlined
def _luma(red, green, blue):
    weighted = add(multiply_high(red, splat(_RED)), multiply_high(green, splat(_GREEN)))
    return add(weighted, multiply_high(blue, splat(_BLUE)))


@inlined
def _scale_for(factor):
    """(gain, shift): value * factor is multiply_high(value, gain) << shift."""
    shift = 0
    limit = 1.0
    while factor > limit:
        limit *= 2.0
        shift += 1
    return min(int(factor / limit * _ONE + 0.5), 65535), shift


@inlined
def _amplify(value, gain, drop, shift):
    """(value * gain - drop) << shift, from black to white."""
    scaled = sub_saturated(multiply_high(value, gain), drop)
    return shift_left(minimum(scaled, shift_right(splat(_WHITE), shift)), shift)


@inlined
def _attenuate(value, gain, lift):
    return add(multiply_high(value, gain), lift)


@inlined
def _blend(red, green, blue, gain, summand, shift):
    """Each channel times a factor; plus the summand if it is at most 1, else minus it."""
    if shift == 0:
        return (
            _attenuate(red, gain, summand),
            _attenuate(green, gain, summand),
            _attenuate(blue, gain, summand),
        )
    amount = splat(shift)
    return (
        _amplify(red, gain, summand, amount),
        _amplify(green, gain, summand, amount),
        _amplify(blue, gain, summand, amount),
    )


@inlined
def _turn_hue(red, green, blue, turn):
    """HSV rotation without a division: chroma times hue is carried instead of hue.

    The differences are Q4, so that chroma * hue, up to 8 * 255 * 16, has a sign bit to spare.
    `turn` is six times the shift, Q13.
    """
    four = splat(4)
    darkest = minimum(red, minimum(green, blue))
    red, green, blue = shift_right(red, four), shift_right(green, four), shift_right(blue, four)
    high = maximum(red, maximum(green, blue))
    chroma = sub(high, shift_right(darkest, four))
    chroma_2 = add(chroma, chroma)
    chroma_4 = add(chroma_2, chroma_2)
    chroma_6 = add(chroma_2, chroma_4)
    hue_if_blue = add(chroma_4, sub(red, green))
    hue_if_green = add(chroma_2, sub(blue, red))
    hue = select_equal(high, green, hue_if_green, hue_if_blue)
    hue = select_equal(high, red, sub(green, blue), hue)
    hue = add(hue, multiply_high_signed(add(chroma_4, chroma_4), turn))
    # Back to 0 … 6 * chroma: what is below zero is large as an unsigned number.
    hue = minimum(hue, add(hue, chroma_6))
    hue = minimum(hue, sub(hue, chroma_6))
    red = minimum(sub_saturated(distance(hue, add(chroma, chroma_2)), chroma), chroma)
    green = minimum(sub_saturated(chroma_2, distance(hue, chroma_2)), chroma)
    blue = minimum(sub_saturated(chroma_2, distance(hue, chroma_4)), chroma)
    return (
        add(darkest, shift_left(red, four)),
        add(darkest, shift_left(green, four)),
        add(darkest, shift_left(blue, four)),
    )


@kernel
def prepare(params, mean, settings):
    """Fill `settings` (4, 3) with the integers that each operation works with, in the drawn order.

    Gain (for hue the turn), shift, and the summand (contrast) or the gain of luma (saturation).
    """
    for k in range(_NUM_OPS):
        op = params.jitter_order[k]
        factor = params.jitter_factor[op]
        if op == HUE:
            settings[k, 0] = int(np.rint(factor * 6 * 8192))
            continue
        settings[k, 0], settings[k, 1] = _scale_for(factor)
        rest = abs(1.0 - factor) / (1 << settings[k, 1])
        scale = mean if op == CONTRAST else (_ONE if op == SATURATION else 0.0)
        settings[k, 2] = min(int(rest * scale + 0.5), 65535)


@inlined
def _apply(op, red, green, blue, gain, shift, summand):
    """One operation on 32 pixels, with its numbers from `prepare`."""
    if op == HUE:
        return _turn_hue(red, green, blue, splat(gain))
    if op == SATURATION:
        gray = multiply_high(_luma(red, green, blue), splat(summand))
        return _blend(red, green, blue, splat(gain), gray, shift)
    return _blend(red, green, blue, splat(gain), splat(summand), shift)


@inlined
def _load_colours(columns, at, pitch):
    return load(columns, at), load(columns, at + pitch), load(columns, at + 2 * pitch)


@kernel
def sweep(columns, start, stop, pitch, order, first, last, settings, grayscale):
    """Operations first … last - 1, then grayscale if asked, on columns start … stop - 1."""
    for column in range(start * 3 * pitch, stop * 3 * pitch, 3 * pitch):
        for at in range(column, column + pitch, LANES):
            red, green, blue = _load_colours(columns, at, pitch)
            for k in range(first, last):
                gain, shift, summand = settings[k, 0], settings[k, 1], settings[k, 2]
                red, green, blue = _apply(order[k], red, green, blue, gain, shift, summand)
            if grayscale:
                red = green = blue = _luma(red, green, blue)
            store(columns, at, red)
            store(columns, at + pitch, green)
            store(columns, at + 2 * pitch, blue)


@kernel
def mean_luma(columns, size, pitch):
    """The mean of gray, in units of Q8."""
    wide = splat_wide(0)
    whole = size // LANES * LANES
    for column in range(0, size * 3 * pitch, 3 * pitch):
        for y in range(0, whole, LANES):
            red, green, blue = _load_colours(columns, column + y, pitch)
            wide = add(wide, widen(_luma(red, green, blue)))
        if whole < size:
            red, green, blue = _load_colours(columns, column + whole, pitch)
            # The rows from `size` to `pitch` are padding.
            wide = add(wide, widen(keep_first(_luma(red, green, blue), size - whole)))
    return total(wide) / (size * size)


@kernel
def begin_colours(params, size, scratch):
    """The colour operations that the mean of gray must wait for, on `scratch.columns`.

    Returns the first of those that are left, whose numbers are in `scratch.settings`: `end_colours`
    takes them from there.
    """
    if not params.jitter:
        return _NUM_OPS
    columns, settings = scratch.columns, scratch.settings
    pitch = (size + LANES - 1) // LANES * LANES
    order = params.jitter_order
    contrast_at = 0
    for k in range(_NUM_OPS):
        if order[k] == CONTRAST:
            contrast_at = k
    prepare(params, 0.0, settings)
    if contrast_at > 0:
        sweep(columns, 0, size, pitch, order, 0, contrast_at, settings, False)
    prepare(params, mean_luma(columns, size, pitch), settings)
    return contrast_at


@kernel
def end_colours(params, begun, start, stop, size, scratch):
    """What `begin_colours` left to be done, and grayscale, on columns start … stop - 1."""
    if begun == _NUM_OPS and not params.grayscale:
        return
    pitch = (size + LANES - 1) // LANES * LANES
    order, gray = params.jitter_order, params.grayscale != 0
    sweep(scratch.columns, start, stop, pitch, order, begun, _NUM_OPS, scratch.settings, gray)
