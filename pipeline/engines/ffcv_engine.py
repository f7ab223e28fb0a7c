"""The engine for FFCV's betons, and the fastest on the CPU for any other source as well.

Threads of this process run a compiled loop (`ffcv_rows`): each picture is decoded once, and its
views are cut and augmented straight into the batch. FFCV's own Reader reads a beton's tables,
after `sources.beton_format` has checked them; its Loader and its graph are not used (design.md and
`ffcv_rows` say why). Pictures that are not plain JPEGs or raw pixels go through `decode_rgb`, so that
they have the same outcome as in every other engine.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numba
import numpy as np
import torch

from ..augment.cpu import as_pixels, check_spec, make_constants
from ..augment.draw import ViewMaker, build_view_maker
from ..augment.sampler import PARAMS, draw_view, pack_spec
from ..contract import BadSample, EngineOptions, Request, Result
from ..decode import MAX_PIXELS, decode_rgb
from ..errors import BadSampleError, UserError
from ..sources.beton import BetonSource
from .ffcv_rows import DONE, NO_ROOM, NOT_PLAIN, ROW, WAITING, Workspace, compiled_augment, make_rows
from .ffcv_threads import Crew
