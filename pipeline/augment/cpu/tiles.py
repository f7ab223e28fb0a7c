"""Tiles of pixels turned between rows and columns in registers.

A tile is 8 elements wide and 8 to 32 rows high, transposed as blocks of 8 by 8 side by side in one
vector: the shuffles then stay within 128 bits, where every CPU has them as single instructions.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import element_pointer, splat_value

BLOCK = 8
"""Width of a tile, elements."""
STRIP_ROWS = 32
"""Height of the tiles of `turn_strip`."""
OUT_ROWS = 16
"""Height of the tiles of `write_tile`: this many interleaved (x, channel) values."""

_I8, _I16, _I32, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


def _constant(element, values):
    return ir.Constant(ir.VectorType(element, len(values)), list(values))


def _concatenate(builder, vectors):
    while len(vectors) > 1:
        mask = _constant(_I32, range(2 * vectors[0].type.count))
        vectors = [
            builder.shuffle_vector(vectors[i], vectors[i + 1], mask)
            for i in range(0, len(vectors), 2)
        ]
    return vectors[0]


def _zip(builder, a, b, first):
    """Interleave lanes first … first + 3 of each block of 8 of a and b."""
    lanes = a.type.count
    mask = [
        source
        for block in range(0, lanes, BLOCK)
        for lane in range(block + first, block + first + BLOCK // 2)
        for source in (lane, lanes + lane)
    ]
    return builder.shuffle_vector(a, b, _constant(_I32, mask))


def _load_transposed(context, builder, array_type, array, at, stride, num_rows):
    """The 8 columns of a tile of uint16, each a vector of `num_rows` lanes."""
    part = ir.VectorType(_I16, BLOCK)
    rows = []
    for row in range(num_rows):
        offset = builder.add(at, builder.mul(stride, stride.type(row)))
        pointer = element_pointer(context, builder, array_type, array, offset)
        rows.append(builder.load(builder.bitcast(pointer, part.as_pointer()), align=2))
    vectors = [_concatenate(builder, rows[i::BLOCK]) for i in range(BLOCK)]
    for _ in range(3):
        vectors = [
            _zip(builder, vectors[i], vectors[i + BLOCK // 2], first)
            for i in range(BLOCK // 2)
            for first in (0, BLOCK // 2)
        ]
    return vectors


def _store(context, builder, array_type, array, offset, value):
    pointer = element_pointer(context, builder, array_type, array, offset)
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=1)


@intrinsic
def turn_strip(typingctx, source, at, stride, target, to):
    """target[to + 32 * column + row] = source[at + stride * row + column]: 32 rows, 8 columns."""

    def codegen(context, builder, signature, args):
        source, at, stride, target, to = args
        columns = _load_transposed(
            context, builder, signature.args[0], source, at, stride, STRIP_ROWS
        )
        for column, value in enumerate(columns):
            offset = builder.add(to, to.type(STRIP_ROWS * column))
            _store(context, builder, signature.args[3], target, offset, value)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, target, intp), codegen


def _scale(builder, words, scale, bias):
    """float32 of non-negative 32-bit lanes, times `scale`, plus `bias`."""
    # fmuladd is fused where the CPU can, and a product and a sum elsewhere; fma would call libm.
    floats = scale.type
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(floats, [floats] * 3), f"llvm.fmuladd.v{floats.count}f32"
    )
    return builder.call(function, [builder.uitofp(words, floats), scale, bias])


def _to_float(builder, pixels, scale, bias):
    words = builder.zext(pixels, ir.VectorType(_I32, pixels.type.count))
    return _scale(builder, words, scale, bias)


def _to_bfloat16(builder, pixels, scale, bias):
    """As `_to_float`, rounded to nearest, ties to even. NaN does not occur.

    Even and odd lanes go apart, so that no lane crosses a register, and are rounded 16 bits wide: a
    tile takes 200 instructions on AVX2, where widening, rounding and narrowing take 228.
    """
    lanes = pixels.type.count
    words = ir.VectorType(_I32, lanes // 2)
    sixteen = splat_value(builder, words, _I32(16))
    pairs = builder.bitcast(pixels, words)
    even = builder.and_(pairs, splat_value(builder, words, _I32(0xFFFF)))
    odd = builder.lshr(pairs, sixteen)
    even, odd = (
        builder.bitcast(
            _scale(builder, part, _every_other(builder, scale, k), _every_other(builder, bias, k)),
            words,
        )
        for k, part in enumerate((even, odd))
    )
    high = _blend(builder, builder.lshr(even, sixteen), odd, pixels.type)
    low = _blend(builder, even, builder.shl(odd, sixteen), pixels.type)
    # Up if the lower half is more than a half, or is a half and the upper one is odd.
    one, half = (splat_value(builder, pixels.type, _I16(number)) for number in (1, 0x8000))
    is_up = builder.icmp_unsigned(">", builder.or_(low, builder.and_(high, one)), half)
    return builder.add(high, builder.zext(is_up, pixels.type))


def _every_other(builder, vector, first):
    mask = _constant(_I32, range(first, vector.type.count, 2))
    return builder.shuffle_vector(vector, vector, mask)


def _blend(builder, even, odd, vector_type):
    """The even 16-bit lanes of one and the odd ones of the other."""
    lanes = vector_type.count
    mask = _constant(_I32, [lane + lane % 2 * lanes for lane in range(lanes)])
    even, odd = builder.bitcast(even, vector_type), builder.bitcast(odd, vector_type)
    return builder.shuffle_vector(even, odd, mask)


def _to_byte(builder, pixels):
    def constant(number):
        return splat_value(builder, pixels.type, _I16(number))

    rounded = builder.lshr(builder.add(pixels, constant(128)), constant(8))
    return builder.trunc(rounded, ir.VectorType(_I8, pixels.type.count))


@intrinsic
def write_tile(typingctx, source, at, stride, out, to, out_stride, constants, phase):
    """Transpose 16 rows of 8 pixels (Q8 in uint16) and store them as 8 rows of the output.

    out[to + out_stride * y + row] is made of source[at + stride * row + y]. A float32 or uint16
    (bfloat16) output gets its product with constants[phase + row] plus constants[18 + phase + row],
    a uint8 output its rounded upper half.
    """
    assert out.dtype in (types.float32, types.uint16, types.uint8), out

    def codegen(context, builder, signature, args):
        source, at, stride, out, to, out_stride, constants, phase = args
        columns = _load_transposed(
            context, builder, signature.args[0], source, at, stride, OUT_ROWS
        )
        floats = ir.VectorType(_F32, OUT_ROWS)

        def load_constants(first):
            offset = builder.add(phase, phase.type(first))
            pointer = element_pointer(context, builder, signature.args[6], constants, offset)
            return builder.load(builder.bitcast(pointer, floats.as_pointer()), align=4)

        scale, bias = load_constants(0), load_constants(OUT_ROWS + 2)
        for y, pixels in enumerate(columns):
            if signature.args[3].dtype == types.uint8:
                value = _to_byte(builder, pixels)
            elif signature.args[3].dtype == types.uint16:
                value = _to_bfloat16(builder, pixels, scale, bias)
            else:
                value = _to_float(builder, pixels, scale, bias)
            offset = builder.add(to, builder.mul(out_stride, to.type(y)))
            _store(context, builder, signature.args[3], out, offset, value)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, out, intp, intp, constants, intp), codegen
