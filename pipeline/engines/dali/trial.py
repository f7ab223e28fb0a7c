"""Whether DALI decodes on this GPU: one picture, tried in a process of its own.

A decoder or driver that does not fit may end the process (a segmentation fault in nvImageCodec) or
never come back. Run as a module, this file is that process.
"""

import io
import json
import subprocess
import sys
from typing import NamedTuple

_TIMEOUT_S = 120
_SIDE = 64
_TRIES = 5
_WORST = 8  # of 255: another decoder's rounding, not another picture


class Trial(NamedTuple):
    """What came of it."""

    works: bool
    detail: str


def try_decoding(device: str, *, timeout_s: float = _TIMEOUT_S) -> Trial:
    """Decode and crop one JPEG by this engine's graph, in a child process.

    Args:
        device: cpu, or cuda:N.
        timeout_s: when it is given up.
    """
    command = [sys.executable, "-m", __name__, device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Trial(False, f"one picture did not come out in {timeout_s:g} s")
    if done.returncode < 0:
        return Trial(False, f"the process was ended by signal {-done.returncode}")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        return Trial(False, lines[0][:200] if lines else f"exit code {done.returncode}")
    answer = json.loads(done.stdout.splitlines()[-1])
    worst = answer["worst"]
    return Trial(worst <= _WORST, f"one picture tried, off by {worst} of 255 at most")


def main(device: str) -> None:
    """Decode, compare with what this process decodes by itself, and print how far it is off."""
    import numpy as np
    import torch
    from PIL import Image

    from ...augment.spec import AugmentSpec, Normalize, ResizeCenterCrop
    from ...contract import EngineOptions, Request
    from ...decode import decode_rgb
    from ...sources.memory import MemorySource
    from .. import build

    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    picture = np.stack([2 * x + y, x + 2 * y, 190 - x - y], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()

    crop = ResizeCenterCrop(size=_SIDE, resize=_SIDE)
    options = EngineOptions(
        source=MemorySource([data]),
        specs=(AugmentSpec(ops=(crop, Normalize())),),
        seed=0,
        batch_size=1,
        dtype=torch.float32,
        device=torch.device(device),
        num_workers=1,
        max_bad_samples=None,
        delivers="crops",
    )
    engine = build("dali", options)
    # More than once: what DALI fails at is decoded without it, until it has failed often enough.
    requests = [Request(0, np.zeros(1, np.int64))] * _TRIES
    try:
        *_, result = engine.stream(iter(requests))
    except RuntimeError as error:
        sys.exit(str(error.__cause__ or error).strip())
    finally:
        engine.close()
    if result.ready is not None:
        result.ready.synchronize()
    made = result.pixels[0][0].cpu().numpy().astype(int)
    print(json.dumps({"worst": int(np.abs(made - decode_rgb(data)).max())}))


if __name__ == "__main__":
    main(sys.argv[1])
