"""Philox-4x32-10, a counter-based random generator: the only source of randomness in `pipeline`.

The output is a pure function of (key, counter), so a sample's numbers do not depend on which
worker, rank or engine asks for them, and resuming needs no generator state.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The tests hold it
against NumPy's own Philox (4x64) construction rules and the authors' published vectors.
"""

import numpy as np

from .compiling import compiled

# The last counter word is (purpose, view, block): streams for different ends never overlap.
PURPOSE_VIEW = 0
PURPOSE_ORDER = 1
_PURPOSE_SHIFT = 28
_VIEW_SHIFT = 8

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW_32 = np.uint64(0xFFFFFFFF)
_BITS_32 = np.uint64(32)


@compiled(nogil=True, inline="always")
def _rounds(c0, c1, c2, c3, k0, k1):
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _BITS_32) ^ c1 ^ k0,
            product_1 & _LOW_32,
            (product_0 >> _BITS_32) ^ c3 ^ k1,
            product_0 & _LOW_32,
        )
        k0 = (k0 + _WEYL_0) & _LOW_32
        k1 = (k1 + _WEYL_1) & _LOW_32
    return c0, c1, c2, c3


@compiled(nogil=True)
def philox_4x32(seed, index, epoch, purpose, view, block):
    """Four random 32-bit words (as uint64) for one (seed, index, epoch, purpose, view, block).

    seed and index are 64 bits wide, epoch 32, view 20, block 8.
    """
    seed = np.uint64(seed)
    index = np.uint64(index)
    stream = (
        (np.uint64(purpose) << np.uint64(_PURPOSE_SHIFT))
        | (np.uint64(view) << np.uint64(_VIEW_SHIFT))
        | np.uint64(block)
    )
    return _rounds(
        index & _LOW_32,
        index >> _BITS_32,
        np.uint64(epoch) & _LOW_32,
        stream,
        seed & _LOW_32,
        seed >> _BITS_32,
    )


@compiled(nogil=True)
def fill_uniform(seed, index, epoch, view, out):
    """Fill `out` (float64, any length up to 1,024) with uniforms in the open interval (0, 1)."""
    scale = 1.0 / 4294967296.0
    for block in range((out.size + 3) // 4):
        words = philox_4x32(seed, index, epoch, PURPOSE_VIEW, view, block)
        for k in range(4):
            position = 4 * block + k
            if position < out.size:
                out[position] = (np.float64(words[k]) + 0.5) * scale


@compiled(nogil=True)
def order_keys(seed, epoch, count):
    """One 64-bit sorting key for each of `count` samples: (count,) uint64."""
    keys = np.empty(count, np.uint64)
    for index in range(count):
        words = philox_4x32(seed, index, epoch, PURPOSE_ORDER, 0, 0)
        keys[index] = (words[0] << _BITS_32) | words[1]
    return keys
