"""Vectors of 32 integers as values that numba understands, so that the loops are written by hand.

numba widens 16-bit integers to 64 bits, tests indices for wraparound, and leaves it to LLVM's loop
vectoriser to find the lanes again. Here a vector is a value of its own type: one instruction each
on AVX-512, two on AVX2, four on SSE2 or NEON. LLVM legalises the same code for every CPU, and
nothing depends on what the vectoriser recognises.

Loads and stores take a C-contiguous array and a flat element offset, and check nothing: whoever
calls them keeps within the array.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 32

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_FRACTION_BITS = _I32(16)


class Vector(types.Type):
    """`LANES` unsigned integers."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(name=f"Vector(uint{bits} x {LANES})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(fe_type.bits), LANES))


U16 = Vector(16)
U32 = Vector(32)


def call_llvm(builder, name, result, *args):
    """Call the LLVM intrinsic `name`, overloaded on the type `result`."""
    suffix = f"v{result.count}i{result.element.width}" if isinstance(result, ir.VectorType) else ""
    function_type = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(
        builder.module, function_type, f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


def element_pointer(context, builder, array_type, array, offset):
    """The address of element `offset` of the flattened array."""
    assert array_type.layout == "C", array_type
    struct = context.make_array(array_type)(context, builder, array)
    return builder.gep(struct.data, [offset], inbounds=True)


def splat_value(builder, vector_type, scalar):
    """All lanes equal to one run-time value."""
    undefined = ir.Constant(vector_type, ir.Undefined)
    lane_zero = builder.insert_element(undefined, scalar, _I32(0))
    mask = ir.Constant(ir.VectorType(_I32, vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(lane_zero, undefined, mask)


def _binary(emit):
    """Make an operation of two vectors of one type from `emit(builder, a, b)`."""

    @intrinsic
    def operation(typingctx, a, b):
        def codegen(context, builder, signature, args):
            return emit(builder, *args)

        return a(a, a), codegen

    return operation


def _named(name):
    return _binary(lambda builder, a, b: call_llvm(builder, name, a.type, a, b))


add = _binary(lambda builder, a, b: builder.add(a, b))
sub = _binary(lambda builder, a, b: builder.sub(a, b))
multiply = _binary(lambda builder, a, b: builder.mul(a, b))
shift_left = _binary(lambda builder, a, b: builder.shl(a, b))
shift_right = _binary(lambda builder, a, b: builder.lshr(a, b))
sub_saturated = _named("usub.sat")
minimum = _named("umin")
maximum = _named("umax")

# The high half of the 32-bit product: a * b >> 16. Written out as widen, multiply, shift, LLVM at
# times keeps 32-bit lanes; as a fixed-point product with 16 fraction bits it is one instruction.
multiply_high = _binary(
    lambda builder, a, b: call_llvm(builder, "umul.fix", a.type, a, b, _FRACTION_BITS)
)


def _multiply_high_signed(builder, a, b):
    wide = ir.VectorType(_I32, LANES)
    product = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    high = builder.ashr(product, splat_value(builder, wide, _I32(16)))
    return builder.trunc(high, a.type)


def _average(builder, a, b):
    # (a + b + 1) >> 1 without overflow: the pattern that LLVM knows as one instruction.
    wide = ir.VectorType(_I32, LANES)
    one = ir.Constant(wide, [1] * LANES)
    total = builder.add(builder.add(builder.zext(a, wide), builder.zext(b, wide)), one)
    return builder.trunc(builder.lshr(total, one), a.type)


multiply_high_signed = _binary(_multiply_high_signed)
average = _binary(_average)
distance = _binary(
    lambda builder, a, b: call_llvm(builder, "abs", a.type, builder.sub(a, b), ir.Constant(_I1, 0))
)


@intrinsic
def select_equal(typingctx, a, b, chosen, other):
    """`chosen` in the lanes where a == b, else `other`."""

    def codegen(context, builder, signature, args):
        a, b, chosen, other = args
        return builder.select(builder.icmp_unsigned("==", a, b), chosen, other)

    return chosen(a, a, chosen, chosen), codegen


@intrinsic
def keep_first(typingctx, a, count):
    """The first `count` lanes of a; zero in the others."""

    def codegen(context, builder, signature, args):
        a, count = args
        lane = ir.Constant(a.type, list(range(LANES)))
        limit = splat_value(builder, a.type, builder.trunc(count, a.type.element))
        zero = ir.Constant(a.type, [0] * LANES)
        return builder.select(builder.icmp_unsigned("<", lane, limit), a, zero)

    return a(a, types.intp), codegen


def _make_splat(vector):
    @intrinsic
    def splat(typingctx, scalar):
        def codegen(context, builder, signature, args):
            lanes = context.get_value_type(vector)
            return splat_value(builder, lanes, builder.trunc(args[0], lanes.element))

        return vector(types.int64), codegen

    return splat


splat = _make_splat(U16)
splat_wide = _make_splat(U32)


@intrinsic
def load(typingctx, array, offset):
    """32 lanes of uint16 from a uint16 array."""
    assert array.dtype == types.uint16, array

    def codegen(context, builder, signature, args):
        lanes = ir.VectorType(_I16, LANES)
        pointer = element_pointer(context, builder, signature.args[0], *args)
        return builder.load(builder.bitcast(pointer, lanes.as_pointer()), align=2)

    return U16(array, types.intp), codegen


@intrinsic
def store(typingctx, array, offset, value):
    """32 lanes of uint16 to a uint16 array."""
    assert array.dtype == types.uint16, array

    def codegen(context, builder, signature, args):
        array, offset, value = args
        pointer = element_pointer(context, builder, signature.args[0], array, offset)
        builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def load_bytes(typingctx, array, offset):
    """32 lanes of uint16 from the next 32 elements of a uint8 array."""
    assert array.dtype == types.uint8, array

    def codegen(context, builder, signature, args):
        lanes = ir.VectorType(_I8, LANES)
        pointer = element_pointer(context, builder, signature.args[0], *args)
        value = builder.load(builder.bitcast(pointer, lanes.as_pointer()), align=1)
        return builder.zext(value, ir.VectorType(_I16, LANES))

    return U16(array, types.intp), codegen


@intrinsic
def load_first_bytes(typingctx, array, offset, count):
    """As `load_bytes`, but reads only `count` elements, up to 32; the other lanes are zero."""

    def codegen(context, builder, signature, args):
        array, offset, count = args
        lanes = ir.VectorType(_I8, LANES)
        pointer = element_pointer(context, builder, signature.args[0], array, offset)
        buffer = cgutils.alloca_once(builder, lanes)
        builder.store(ir.Constant(lanes, [0] * LANES), buffer)
        cgutils.raw_memcpy(builder, buffer, pointer, count, 1, align=1)
        return builder.zext(builder.load(buffer), ir.VectorType(_I16, LANES))

    return U16(array, types.intp, types.intp), codegen


@intrinsic
def widen(typingctx, a):
    """The same lanes with 32 bits each."""

    def codegen(context, builder, signature, args):
        return builder.zext(args[0], ir.VectorType(_I32, LANES))

    return U32(a), codegen


@intrinsic
def narrow(typingctx, a):
    """The low 16 bits of 32-bit lanes."""

    def codegen(context, builder, signature, args):
        return builder.trunc(args[0], ir.VectorType(_I16, LANES))

    return U16(a), codegen


@intrinsic
def total(typingctx, a):
    """The sum of 32-bit lanes, as int64."""

    def codegen(context, builder, signature, args):
        lanes = builder.zext(args[0], ir.VectorType(_I64, LANES))
        function_type = ir.FunctionType(_I64, [lanes.type])
        function = cgutils.get_or_insert_function(
            builder.module, function_type, f"llvm.vector.reduce.add.v{LANES}i64"
        )
        return builder.call(function, [lanes])

    return types.int64(a), codegen
