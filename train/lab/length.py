"""How long the runs of a table may be, so that all of them fit a budget."""

from collections.abc import Sequence

from ...pipeline.errors import UserError
from ..config import Config
from ..task import Task
from .plan import MIN_STEPS, Planned, parse_row

NUM_EVALUATIONS = 4
"""Of a run, at most."""
_MIN_EPOCHS = 8  # fewer pictures rather than fewer epochs: some rules go over pictures again
_MARGIN = 0.9  # of the budget; the pace was measured for moments only
_START_S = 12.0  # of a process, until its first step
_EVALUATION = 1 / 6  # forward of one view, over forward and backward of two


def cost_of(config: Config) -> float:
    """Arithmetic of training on one picture, by the rest of the configuration.

    Raises:
        UserError: it cannot be trained so.
    """
    try:
        flops = Task().count_flops(config)
    except ValueError as error:
        raise UserError(str(error)) from None
    assert flops is not None
    return float(flops)


def choose_length(
    rows: Sequence[Planned],
    config: Config,
    *,
    budget_s: float,
    pace: float,
    num_pictures: int,
    num_bank: int,
    num_queries: int,
    seeds: int = 1,
    jobs: int = 1,
) -> tuple[int, int]:
    """Epochs, and pictures of each, so that all runs end within the budget.

    Args:
        rows: to be run.
        config: of the recipe.
        budget_s: of all of them, s.
        pace: of the recipe's own row, images/s, where as many go on as will.
        num_pictures: that may be trained on.
        num_bank: labelled pictures that kNN may look among.
        num_queries: validation pictures of the last evaluation; 0: there is none.
        seeds: runs of each row.
        jobs: runs at a time.

    Raises:
        UserError: not even the shortest run does.
    """
    base = cost_of(config)
    runs = [_cost_of_row(config, planned) / base for planned in rows] * seeds
    longest = max(_seat(runs, jobs), key=sum)  # all of its runs come after each other
    costs = sum(longest)
    room = (budget_s - _START_S * len(longest)) * pace * _MARGIN
    if num_queries:
        bank = min(config.eval.max_bank or num_bank, num_bank)
        some = min(config.eval.max_queries or num_queries, num_queries)
        extracted = NUM_EVALUATIONS * bank + (NUM_EVALUATIONS - 1) * some + num_queries
        floors = 2 * (bank + num_queries)  # of one run
        room -= _EVALUATION * (len(longest) * extracted + floors)
    batch = config.train.batch_size
    if num_pictures < MIN_STEPS * batch:  # enough for some rows alone, with batches of their own
        batch = min(parse_row(config, planned.overrides).train.batch_size for planned in rows)
    for pictures in range(num_pictures - num_pictures % batch, 0, -batch):
        epochs = int(room / (costs * pictures))
        if epochs >= _MIN_EPOCHS and pictures >= MIN_STEPS * batch:
            return epochs, pictures
    least = MIN_STEPS * batch
    lacking = (_MIN_EPOCHS * costs * least - room) / (pace * _MARGIN)
    raise UserError(
        f"--budget: {budget_s / 60:.1f} minutes are too few; the shortest {len(runs)} runs take "
        f"{(budget_s + lacking) / 60:.1f}"
    )


def _seat(costs: Sequence[float], jobs: int) -> list[list[float]]:
    """As they will come to sit: the next one where it is first free."""
    seats: list[list[float]] = [[] for _ in range(jobs)]
    for cost in costs:
        min(seats, key=sum).append(cost)
    return seats


def _cost_of_row(config: Config, planned: Planned) -> float:
    """Of an epoch of the recipe."""
    made = parse_row(config, planned.overrides)
    return cost_of(made) * made.train.epochs / config.train.epochs
