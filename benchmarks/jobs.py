"""Training jobs to be measured: how they are asked for, and how they are built."""

from collections.abc import Callable

from ..pipeline.arguments import Parser
from ..pipeline.contract import Batch
from ..pipeline.stages import Stages
from ..train.config import Config, replace
from ..train.device import resolve
from ..train.job import Job, build_job
from ..train.recipes import list_recipes

_MANY_EPOCHS = 1_000_000  # no end is near: loaders work ahead, and compiling pays


def add_job_options(parser: Parser) -> None:
    """`--config`, and what is laid over it."""
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        default="cifar10-cpu",
        help=f"a recipe ({', '.join(list_recipes())}) or a YAML file (cifar10-cpu)",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="as of pretrain; without data.path generated pictures are loaded",
    )


def build_endless(config: Config, *, counts_stages: bool = False) -> Job:
    """The job of a configuration as `read_config` has it, without an end and without evaluation.

    Args:
        config: with `auto` in it.
        counts_stages: whether the loader's workers count their time.
    """
    config = replace(config, train={"epochs": _MANY_EPOCHS}, data={"val_path": None})
    config = resolve(config).config
    stages = Stages(num_workers=config.data.num_workers or 0) if counts_stages else None
    return build_job(config, stages=stages)


def step_of(job: Job) -> Callable[[Batch], None]:
    """Its training step."""

    def step(batch: Batch) -> None:
        job.train_step(batch.views, job.marks(batch))

    return step
