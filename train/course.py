"""What is ahead of a method, told to it before it trains; and what it cannot be trained with."""

from ..model.libraries import check_sizes
from ..model.method import Course, Method
from ..pipeline.errors import UserError
from ..pipeline.loader import Loader
from ..pipeline.sources import Source
from ..pipeline.world import World
from .config import Config


def begin_method(
    model: Method, config: Config, source: Source, loader: Loader, world: World
) -> None:
    """Tell the method what is ahead of it.

    Raises:
        UserError: it cannot be trained so.
    """
    course = Course(
        sizes=tuple(spec.size for spec in loader.options.specs),
        num_pictures=len(source),
        batch_size=loader.global_batch_size,
        steps_per_epoch=loader.batches_per_epoch,
        num_steps=config.train.epochs * loader.batches_per_epoch,
    )
    if loader.options.batch_size == 1 and not (world.is_alone or config.train.sync_batch_norm):
        raise UserError(
            f"train.batch_size={course.batch_size}: one picture for each of {world.size} "
            "processes, and a BatchNorm of its own needs two; set "
            f"train.batch_size={2 * world.size} or train.sync_batch_norm=true"
        )
    try:
        check_sizes(config.model.backbone, course.sizes)
        model.begin(course)
    except ValueError as error:
        raise UserError(str(error)) from None
