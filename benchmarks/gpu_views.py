"""How long the GPU takes to make the views of a batch from uint8 crops.

    python -m swiftsiam.benchmarks.gpu_views [--batch-size 512] [--size 224] [--rounds 20]

Method: both views of a batch in one call, as the loader makes them, with parameters drawn by the
sampler (the paper's augmentation) and packed beforehand; several batches in turn, so that no crop
is left in the cache. Device events around `--repeats` calls, contestants interleaved, median and
interquartile range over the rounds.

Reading: GB/s counts each crop read once and each view written once, whatever a contestant really
moves; ms are to be held against 3 % of a training step, 3.7 ms of 125.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch

from ..pipeline.augment.gpu import make_views, pack_params, torch_views
from ..pipeline.augment.sampler import draw_views, pack_spec
from ..pipeline.augment.spec import AugmentConfig, AugmentSpec, build_train_specs
from .machine import describe_machine

_NUM_BATCHES = 3  # 154 MB each at the defaults, three times the cache of an H200

Inputs = list[tuple[torch.Tensor, torch.Tensor]]
"""Crops (2B, size, size, 3) and packed parameters of each batch, on the device."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the GPU kernel.")
    parser.add_argument(
        "--batch-size", type=int, default=512, help="pictures, two views each (512)"
    )
    parser.add_argument("--size", type=int, default=224, help="side of a view, px (224)")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each contestant (20)")
    parser.add_argument("--repeats", type=int, default=9, help="calls in a round (9)")
    parser.add_argument("--dtype", default="bfloat16", help="of the views (bfloat16)")
    return parser.parse_args()


def build_inputs(spec: AugmentSpec, count: int) -> Inputs:
    """`_NUM_BATCHES` batches of `count` views of noise."""
    inputs = []
    sides = np.full(count, spec.size)
    for epoch in range(_NUM_BATCHES):
        params = draw_views(
            pack_spec(spec),
            seed=0,
            epoch=epoch,
            indices=np.arange(count),
            view=0,
            heights=sides,
            widths=sides,
        )
        shape = (count, spec.size, spec.size, 3)
        crops = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda")
        inputs.append((crops, pack_params(params).cuda()))
    return inputs


def time_ms(make: Callable[..., torch.Tensor], inputs: Inputs, *, repeats: int) -> float:
    """Of one call."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for number in range(repeats):
        make(*inputs[number % len(inputs)])
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def main() -> None:
    """Print a line for each contestant."""
    arguments = parse_arguments()
    dtype = getattr(torch, arguments.dtype)
    spec, _ = build_train_specs(AugmentConfig(size=arguments.size))
    plain, _ = build_train_specs(AugmentConfig(size=arguments.size, blur_prob=0.0))
    compiled = torch.compile(torch_views, fullgraph=True, dynamic=False)
    contestants = {
        "make_views": (make_views, spec),
        "make_views, no blur": (make_views, plain),
        "torch_views, compiled": (compiled, spec),
    }
    inputs = {each: build_inputs(each, 2 * arguments.batch_size) for each in (spec, plain)}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(-2, arguments.rounds):  # two rounds to compile and to warm up
        for name, (function, each) in contestants.items():

            def make(crops, packed, function=function, each=each):
                return function(crops, packed, spec=each, dtype=dtype)

            elapsed = time_ms(make, inputs[each], repeats=arguments.repeats)
            if round_number >= 0:
                times[name].append(elapsed)
    moved = inputs[spec][0][0].numel() * (1 + dtype.itemsize)
    print(describe_machine())
    for name, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(
            f"{name}: {median:.3f} ms (IQR {high - low:.3f}, n {len(values)}) for "
            f"2 × {arguments.batch_size} views of {spec.size} px, {moved / median / 1e6:.0f} GB/s"
        )


if __name__ == "__main__":
    main()
