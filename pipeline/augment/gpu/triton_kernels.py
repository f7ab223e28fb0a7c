"""The two kernels in Triton. See `triton_views` for how they divide the work."""

import triton
import triton.language as tl

from . import packing

# Compiled code sees globals only as constexpr.
_NUM_STEPS = tl.constexpr(packing.NUM_STEPS)
_CONTRAST_AT = tl.constexpr(packing.CONTRAST_AT)
_SIGMA = tl.constexpr(packing.SIGMA)
_FLIP = tl.constexpr(packing.FLIP)
_STEPS = tl.constexpr(packing.STEPS)
_IS_HUE = tl.constexpr(packing.IS_HUE)
_GAIN = tl.constexpr(packing.GAIN)
_LUMA_GAIN = tl.constexpr(packing.LUMA_GAIN)
_MEAN_GAIN = tl.constexpr(packing.MEAN_GAIN)
_STEP_WIDTH = tl.constexpr(packing.STEP_WIDTH)
_WIDTH = tl.constexpr(packing.WIDTH)
_RED = tl.constexpr(packing.LUMA[0])
_GREEN = tl.constexpr(packing.LUMA[1])
_BLUE = tl.constexpr(packing.LUMA[2])


@triton.jit
def _load_pixels(at):
    """Red, green and blue in [0, 1] from addresses of red bytes."""
    red = tl.load(at).to(tl.float32) * (1.0 / 255.0)
    green = tl.load(at + 1).to(tl.float32) * (1.0 / 255.0)
    blue = tl.load(at + 2).to(tl.float32) * (1.0 / 255.0)
    return red, green, blue


@triton.jit
def _luma(red, green, blue):
    return _RED * red + _GREEN * green + _BLUE * blue


@triton.jit
def _clamp(value):
    return tl.minimum(tl.maximum(value, 0.0), 1.0)


@triton.jit
def _turn_hue(red, green, blue, turn):
    """HSV rotation by `turn` sixths of the circle; chroma times hue is carried (`torch_views`)."""
    high = tl.maximum(red, tl.maximum(green, blue))
    low = tl.minimum(red, tl.minimum(green, blue))
    chroma = high - low
    hue = tl.where(high == green, 2 * chroma + blue - red, 4 * chroma + red - green)
    hue = tl.where(high == red, green - blue, hue) + turn * chroma
    hue = tl.where(hue < 0, hue + 6 * chroma, hue)
    hue = tl.where(hue >= 6 * chroma, hue - 6 * chroma, hue)
    red = tl.abs(hue - 3 * chroma) - chroma
    green = 2 * chroma - tl.abs(hue - 2 * chroma)
    blue = 2 * chroma - tl.abs(hue - 4 * chroma)
    red = low + tl.minimum(tl.maximum(red, 0.0), chroma)
    green = low + tl.minimum(tl.maximum(green, 0.0), chroma)
    blue = low + tl.minimum(tl.maximum(blue, 0.0), chroma)
    return red, green, blue


@triton.jit
def _run_steps(red, green, blue, steps, num_steps, mean):
    """The first `num_steps` steps of a view. All threads of a program take the same branch."""
    for number in range(0, num_steps):
        step = steps + number * _STEP_WIDTH
        gain = tl.load(step + _GAIN)
        if tl.load(step + _IS_HUE) > 0:
            red, green, blue = _turn_hue(red, green, blue, gain)
        else:
            luma = _luma(red, green, blue)
            summand = tl.load(step + _LUMA_GAIN) * luma + tl.load(step + _MEAN_GAIN) * mean
            red = _clamp(gain * red + summand)
            green = _clamp(gain * green + summand)
            blue = _clamp(gain * blue + summand)
    return red, green, blue


@triton.jit
def mean_luma_kernel(crops, packed, means, area, BLOCK: tl.constexpr):
    """One program a view: the mean of luma as contrast finds it, into means[view].

    Views without contrast are left out. Summed in a fixed order: the same bits in every run.
    """
    view = tl.program_id(0)
    row = packed + view * _WIDTH
    contrast_at = tl.load(row + _CONTRAST_AT).to(tl.int32)
    if contrast_at >= 0:
        pixels = crops + view.to(tl.int64) * area * 3
        total = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, area, BLOCK):
            place = start + tl.arange(0, BLOCK)
            red, green, blue = _load_pixels(pixels + 3 * tl.minimum(place, area - 1))
            red, green, blue = _run_steps(red, green, blue, row + _STEPS, contrast_at, 0.0)
            total += tl.where(place < area, _luma(red, green, blue), 0.0)
        tl.store(means + view, tl.sum(total, axis=0) / area)


@triton.jit
def _blur_weights(sigma, TILE: tl.constexpr, REACH: tl.constexpr):
    """(TILE, TILE) band of a Gaussian's weights; right for pixels REACH or more from the rim."""
    lane = tl.arange(0, TILE)
    center = tl.abs(lane - TILE // 2)
    total = tl.sum(tl.where(center <= REACH, tl.exp(-0.5 * center * center / (sigma * sigma)), 0.0))
    offset = tl.abs(lane[:, None] - lane[None, :])
    weights = tl.exp(-0.5 * offset * offset / (sigma * sigma)) / total
    return tl.where(offset <= REACH, weights, 0.0)


@triton.jit
def _dot(left, right):
    """A product of float32 matrices of values from 0 to 1, right to 1e-6.

    Each is the sum of two in float16; the product of the two remainders is negligible. (Triton's
    own "tf32x3" needs twice the registers for its operands, and spills here.)
    """
    left_high, right_high = left.to(tl.float16), right.to(tl.float16)
    left_low = (left - left_high.to(tl.float32)).to(tl.float16)
    right_low = (right - right_high.to(tl.float32)).to(tl.float16)
    total = tl.dot(left_low, right_high)
    total = tl.dot(left_high, right_low, total)
    return tl.dot(left_high, right_high, total)


@triton.jit
def _blur(plane, weights):
    """Along y, then along x: products with a symmetric band."""
    return _dot(_dot(weights, plane), weights)


@triton.jit
def _choose(channel, red, green, blue):
    return tl.where(channel == 0, red, tl.where(channel == 1, green, blue))


@triton.jit
def _find_places(view, row, size, y_start, x_start, margin, TILE: tl.constexpr):
    """Where a tile's red values go, and which of them: not its margin nor what is off the view."""
    lane = tl.arange(0, TILE)
    y, x = y_start + lane, x_start + lane
    inner = (lane >= margin) & (lane < TILE - margin)
    is_stored = (inner & (y < size))[:, None] & (inner & (x < size))[None, :]
    x_to = tl.where(tl.load(row + _FLIP) > 0, size - 1 - x, x)
    return view + 3 * (y[:, None] * size + x_to[None, :]), is_stored


@triton.jit
def _store_plane(plane, at, is_stored, scale, bias):
    tl.store(at, (plane * scale + bias).to(at.dtype.element_ty), mask=is_stored)


@triton.jit
def _make_tile(
    pixels, row, mean, view, size, y_start, x_start, margin, constants,
    TILE: tl.constexpr, REACH: tl.constexpr, ONE_BY_ONE: tl.constexpr,
):  # fmt: skip
    """A tile of TILE × TILE px from (y_start, x_start), stored but for its margin.

    Places are found where they are needed, behind the blur: kept across it they are spilled.
    """
    lane = tl.arange(0, TILE)
    y, x = y_start + lane, x_start + lane
    # Beyond the picture's edge its last pixels are repeated, which is what the blur wants.
    y_from = tl.minimum(tl.maximum(y, 0), size - 1)[:, None]
    x_from = tl.minimum(tl.maximum(x, 0), size - 1)[None, :]
    red, green, blue = _load_pixels(pixels + 3 * (y_from * size + x_from))
    num_steps = tl.load(row + _NUM_STEPS).to(tl.int32)
    red, green, blue = _run_steps(red, green, blue, row + _STEPS, num_steps, mean)
    if ONE_BY_ONE:  # in a loop that stays one, so that no two blurs are under way together
        for channel in range(0, 3):
            plane = _choose(channel, red, green, blue)
            if margin > 0:
                plane = _blur(plane, _blur_weights(tl.load(row + _SIGMA), TILE, REACH))
            scale = _choose(channel, constants[0], constants[1], constants[2])
            bias = _choose(channel, constants[3], constants[4], constants[5])
            at, is_stored = _find_places(view, row, size, y_start, x_start, margin, TILE)
            _store_plane(plane, at + channel, is_stored, scale, bias)
    else:
        if REACH > 0:  # noqa: SIM102  decided by the compiler, the other one at run time
            if margin > 0:
                weights = _blur_weights(tl.load(row + _SIGMA), TILE, REACH)
                red, green, blue = _blur(red, weights), _blur(green, weights), _blur(blue, weights)
        at, is_stored = _find_places(view, row, size, y_start, x_start, margin, TILE)
        _store_plane(red, at, is_stored, constants[0], constants[3])
        _store_plane(green, at + 1, is_stored, constants[1], constants[4])
        _store_plane(blue, at + 2, is_stored, constants[2], constants[5])


@triton.jit
def view_kernel(
    crops, packed, means, views, size, tiles_per_view,
    red_scale, green_scale, blue_scale, red_bias, green_bias, blue_bias,
    TILE: tl.constexpr, REACH: tl.constexpr, ONE_BY_ONE: tl.constexpr,
):  # fmt: skip
    """One program a tile: colours, blur, flip, normalisation.

    The tiles of a blurred view overlap by 2 * REACH, those of others do not; the programs left over
    then have nothing to do.
    """
    program = tl.program_id(0)
    number, tile = program // tiles_per_view, program % tiles_per_view
    row = packed + number * _WIDTH
    margin = tl.where(tl.load(row + _SIGMA) > 0, REACH, 0)
    side = TILE - 2 * margin
    tiles_across = (size + side - 1) // side
    if tile < tiles_across * tiles_across:
        start = number.to(tl.int64) * size * size * 3
        # No mean was computed for views without contrast: there may be a NaN.
        mean = tl.load(means + number, mask=tl.load(row + _CONTRAST_AT) >= 0, other=0.0)
        y_start = tile // tiles_across * side - margin
        x_start = tile % tiles_across * side - margin
        constants = (red_scale, green_scale, blue_scale, red_bias, green_bias, blue_bias)
        _make_tile(
            crops + start, row, mean, views + start, size, y_start, x_start, margin, constants,
            TILE, REACH, ONE_BY_ONE,
        )  # fmt: skip
