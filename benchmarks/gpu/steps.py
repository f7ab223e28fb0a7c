"""The step alone, on a cached batch: is it right, what does it take, how fast is each lane?"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch

from ...model.method import ModelConfig, build_method
from ...pipeline.errors import UserError
from ...train.lanes import Lanes, build_step
from ...train.optim import OptimConfig
from ...train.step import TrainStep
from ..inputs import make_views
from .context import Context, Record, interleaved

Views = tuple[torch.Tensor, ...]


_EAGER = Lanes(channels_last=True, cudnn_benchmark=True, tf32=True, fused=True)
_LANES = {
    "eager bf16": replace(_EAGER, precision="bf16"),
    "eager fp16": replace(_EAGER, precision="fp16"),
    "eager fp32": _EAGER,
    "graph bf16": replace(_EAGER, precision="bf16", cuda_graph=True),
    "graph fp16": replace(_EAGER, precision="fp16", cuda_graph=True),
    "compiled bf16": replace(_EAGER, precision="bf16", compile=True),
    "compiled graph bf16": replace(_EAGER, precision="bf16", compile=True, cuda_graph=True),
}
_STEPS = 10
_WARM_UP = 5
_MB_A_PICTURE = 88  # of saved tensors, both views, bf16, eager, ResNet-50 (counted on a CPU)


def build_eager_step(context: Context, precision: str) -> TrainStep:
    """As a job builds it where nothing is compiled or captured."""
    return _build_step(context, replace(_EAGER, precision=precision))  # type: ignore[arg-type]


def _build_step(context: Context, lanes: Lanes) -> TrainStep:
    """As a job builds it; in a rehearsal the model's graph is captured, and inductor left out."""
    torch.manual_seed(0)
    config = ModelConfig(backbone=context.sizes.backbone)  # type: ignore[arg-type]
    model = build_method(config).to(context.device)
    if lanes.compile and not context.is_cuda:
        model.compile(fullgraph=True, backend="eager")
        lanes = replace(lanes, compile=False)
    return build_step(model, OptimConfig(), lanes, lr=0.05)


def make_batch(context: Context, count: int, precision: str) -> tuple[Views, torch.Tensor]:
    """Two views of noise, and labels."""
    views = make_views(count, context.sizes.size, precision=precision, device=context.device)
    return views, torch.zeros(count, dtype=torch.int64, device=context.device)


def optimizer(context: Context) -> Iterator[Record]:
    """Fused SGD that skips its first step leaves weights and momentum as they were, and then agrees
    with plain SGD; a step waits for nothing.
    """
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(1000, device=context.device))
    plain = torch.nn.Parameter(parameter.detach().clone())
    fused = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)
    fused.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    other = torch.optim.SGD([plain], lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=False)
    before = parameter.detach().clone()
    for number in range(4):
        gradient = torch.randn(1000, device=context.device)
        parameter.grad, plain.grad = gradient.clone(), gradient.clone()
        fused.grad_scale = None  # type: ignore[attr-defined]
        fused.found_inf = torch.full((), float(number == 0), device=context.device)  # type: ignore
        fused.step()
        if number == 0:
            buffer = fused.state[parameter]["momentum_buffer"]
            unchanged = torch.equal(parameter, before) and not buffer.any()
            yield context.check("a skipped first step changes nothing", bool(unchanged))
        else:
            other.step()
    worst = float((parameter - plain).detach().abs().max())
    yield context.check("then as plain SGD", worst < 1e-5, worst=worst)
    for precision in ("bf16", "fp16") if context.is_cuda else ("fp32",):
        yield _look_for_waits(context, precision)


def _look_for_waits(context: Context, precision: str) -> Record:
    step = build_eager_step(context, precision)
    views, labels = make_batch(context, 8, precision)
    for _ in range(3):
        step(views, labels)
    try:
        with context.waits_refused():
            step(views, labels)
    except RuntimeError as error:
        return context.check(f"{precision}: no wait in a step", False, error=str(error)[:500])
    return context.check(f"{precision}: no wait in a step", True)


def memory(context: Context) -> Iterator[Record]:
    """Of a step at two small batches; from them, of the whole one, before it is tried."""
    peaks = {}
    for count in (64, 128) if context.is_cuda else (4, 8):
        if context.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        step = build_eager_step(context, context.precision)
        views, labels = make_batch(context, count, context.precision)
        for _ in range(2):
            step(views, labels)
        context.synchronize()
        peaks[count] = torch.cuda.max_memory_allocated() if context.is_cuda else 0
        del step, views
    (few, low), (more, high) = peaks.items()
    each = (high - low) / (more - few)
    expected = low + each * (context.sizes.batch - few)
    has = torch.cuda.get_device_properties(context.device).total_memory if context.is_cuda else 0
    yield context.check(
        f"room for a batch of {context.sizes.batch}",
        expected < 0.92 * has if context.is_cuda else None,
        mb_a_picture=round(each / 1e6, 1),
        counted_mb_a_picture=_MB_A_PICTURE,
        expected_gb=round(expected / 1e9, 1),
        gpu_gb=round(has / 1e9, 1),
    )


def step_times(context: Context) -> Iterator[Record]:
    """Images per second of each lane; all of them interleaved, the compiled one's start apart."""
    lanes: dict[str, Callable[[], float]] = {}
    for name, chosen in _LANES.items():
        if chosen.cuda_graph and not context.is_cuda:
            continue  # of which there is no rehearsal but that of its tests
        try:
            lanes[name], first_s = _prepare(context, chosen)
        except (RuntimeError, UserError) as error:  # no room, no compiler
            yield context.check(name, False, error=f"{type(error).__name__}: {error}"[:500])
            continue
        yield context.check(f"{name}: start", None, seconds=round(first_s, 1))
    for name, values in interleaved(lanes, rounds=context.sizes.rounds).items():
        if values:
            work = f"{context.sizes.backbone}, {context.sizes.size} px, cached batch"
            yield context.rate(name, values, scope="step", engine="none", work=work)


def _prepare(context: Context, lanes: Lanes) -> tuple[Callable[[], float], float]:
    """A measurement in images per second; and seconds of the warm-up."""
    step, count = _build_step(context, lanes), context.sizes.batch
    views, labels = make_batch(context, count, lanes.precision)
    steps = _STEPS if context.is_cuda else 1

    def run(number: int) -> None:
        for _ in range(number):
            step(views, labels)

    first_s = context.seconds(partial(run, _WARM_UP if context.is_cuda else 1))
    return lambda: steps * count / context.seconds(partial(run, steps)), first_s
