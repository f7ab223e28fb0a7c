"""The compiled loop of the ffcv engine: rows of a batch, from encoded bytes to finished views.

Whatever the plain path cannot do is left to Python by its status: nothing here raises, allocates
or holds the GIL. The second start finds it all on disk.

Why not FFCV's own graph: it compiles anew at each start (about 2 s: its `Compiler` caches nothing),
with `fastmath`, which would move the sampler's rounding and so a window by a pixel; and it has one
way only, from a beton's memory manager to a slot of its ring.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.core.types import CompileResultWAP
from numba.extending import intrinsic

from ... import pipeline
from ..augment.cpu import Scratch, augment_view, make_constants, make_scratch
from ..augment.sampler import PARAMS, draw_view, pack_spec
from ..augment.spec import AugmentSpec
from ..decode import MAX_PIXELS
from . import turbojpeg
from .turbojpeg import TJCS_CMYK, TJCS_YCCK, TJFLAG_ACCURATEDCT, TJPF_RGB, Decoder
