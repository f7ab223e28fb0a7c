"""A true Gaussian blur, edges replicated: weights Q16, pixels Q8, one column at a time."""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import math

from .compiling import inlined, kernel
from .scratch import BLUR_REACH, LINE_PAD
from .vectors import LANES, add, average, load, multiply_high, splat, store

_ONE = 65536.0  # Q16
_NEGLIGIBLE = 20  # of 65536: such weights change no pixel by more than 0.1 of 255


@kernel
def prepare_blur(sigma, weights):
    """Fill `weights` with the centre's weight and those of the pairs at 1, 2, … px.

    Returns the number of pairs; 0: nothing is to be blurred.
    """
    if sigma <= 0.0:
        return 0
    reach = min(max(math.ceil(3.0 * sigma - 0.25), 1), BLUR_REACH)
    total = 1.0
    for k in range(1, reach + 1):
        total += 2.0 * math.exp(-0.5 * (k / sigma) ** 2)
    given = 0
    for k in range(1, reach + 1):
        weight = int(2.0 * math.exp(-0.5 * (k / sigma) ** 2) / total * _ONE + 0.5)
        weights[k] = weight
        given += weight
    weights[0] = min(65536 - given, 65535)
    while reach > 0 and weights[reach] < _NEGLIGIBLE:
        reach -= 1
    return reach


@inlined
def _center(source, at, weight, bias):
    return add(bias, multiply_high(load(source, at), weight))


@inlined
def _pair(source, before, after, weight):
    return multiply_high(average(load(source, before), load(source, after)), weight)


@kernel
def _blur_along_x(columns, x, size, pitch, reach, weights, line, line_pitch):
    """Column x of the view, blurred along x, into `line`."""
    column = 3 * pitch
    bias = splat((reach + 1) >> 1)  # what the products lose by truncation, on average
    for y in range(0, pitch, LANES):
        center = x * column + y
        weight = splat(weights[0])
        red = _center(columns, center, weight, bias)
        green = _center(columns, center + pitch, weight, bias)
        blue = _center(columns, center + 2 * pitch, weight, bias)
        for k in range(1, reach + 1):
            weight = splat(weights[k])
            before = max(x - k, 0) * column + y
            after = min(x + k, size - 1) * column + y
            red = add(red, _pair(columns, before, after, weight))
            green = add(green, _pair(columns, before + pitch, after + pitch, weight))
            blue = add(blue, _pair(columns, before + 2 * pitch, after + 2 * pitch, weight))
        to = LINE_PAD + y
        store(line, to, red)
        store(line, to + line_pitch, green)
        store(line, to + 2 * line_pitch, blue)


@kernel
def _replicate_edges(line, size, line_pitch, reach):
    for channel in range(3):
        start = channel * line_pitch + LINE_PAD
        first, last = line[start], line[start + size - 1]
        for k in range(reach):
            line[start - 1 - k] = first
            line[start + size + k] = last


@kernel
def _blur_along_y(line, line_pitch, pitch, reach, weights, blurred, to):
    """The column in `line`, blurred along y."""
    bias = splat((reach + 1) >> 1)
    for y in range(0, pitch, LANES):
        red_at = LINE_PAD + y
        green_at = red_at + line_pitch
        blue_at = green_at + line_pitch
        weight = splat(weights[0])
        red = _center(line, red_at, weight, bias)
        green = _center(line, green_at, weight, bias)
        blue = _center(line, blue_at, weight, bias)
        for k in range(1, reach + 1):
            weight = splat(weights[k])
            red = add(red, _pair(line, red_at - k, red_at + k, weight))
            green = add(green, _pair(line, green_at - k, green_at + k, weight))
            blue = add(blue, _pair(line, blue_at - k, blue_at + k, weight))
        store(blurred, to + y, red)
        store(blurred, to + pitch + y, green)
        store(blurred, to + 2 * pitch + y, blue)


@kernel
def blur_columns(left, width, size, pitch, reach, scratch):
    """Columns left … left + width - 1 of `scratch.columns`, blurred, into `scratch.blurred`."""
    columns, line, weights = scratch.columns, scratch.line, scratch.blur_weights
    line_pitch = pitch + 2 * LINE_PAD
    for x in range(width):
        _blur_along_x(columns, left + x, size, pitch, reach, weights, line, line_pitch)
        _replicate_edges(line, size, line_pitch, reach)
        to = x * 3 * pitch
        _blur_along_y(line, line_pitch, pitch, reach, weights, scratch.blurred, to)
