"""What is lost to the slowest of several processes, by simulation.

Each draws how long it takes from a gamma distribution of mean 1, and all wait for the slowest. What
is drawn once a step and what is drawn anew between two waits (each gather of a BatchNorm is one)
share the variance of a step: that of the parts is so much larger that a process alone, which waits
for nobody, varies as much in all. So variation that lasts costs least, and variation that comes and
goes costs up to √waits as much. Which of them a machine has, only several of them can tell.
"""

import numpy as np

_DRAWS = 1 << 22  # of a run, at most
_STEPS = 2000


def straggling(
    num_processes: int,
    noise: float,
    *,
    lasting: float = 1.0,
    num_waits: int = 1,
    num_steps: int | None = None,
    seed: int = 0,
) -> float:
    """How many times as long a step takes as the mean process's: 1 for one process.

    Args:
        num_processes: that wait for each other.
        noise: standard deviation of a process's step, over its mean.
        lasting: share of that variance that stays for all of a step, 0 to 1.
        num_waits: in a step.
        num_steps: that are simulated; None: see `simulated_steps`.
        seed: of all draws.
    """
    if num_processes == 1 or noise == 0.0:
        return 1.0
    num_waits = num_waits if lasting < 1.0 else 1
    num_steps = num_steps or simulated_steps(num_processes, lasting=lasting, num_waits=num_waits)
    random = np.random.default_rng(seed)
    taken = 0.0
    for _ in range(num_steps):
        steady = _draw(random, noise**2 * lasting, (1, num_processes))
        parts = _draw(random, noise**2 * (1 - lasting) * num_waits, (num_waits, num_processes))
        taken += (steady * parts).max(axis=1).mean()
    return max(taken / num_steps, 1.0)


def simulated_steps(num_processes: int, *, lasting: float, num_waits: int) -> int:
    """As many as take a second or so."""
    draws = num_processes * (num_waits if lasting < 1.0 else 1)
    return max(min(_STEPS, _DRAWS // draws), 10)


def _draw(random: np.random.Generator, variance: float, shape: tuple[int, int]) -> np.ndarray:
    """Of mean 1."""
    if variance == 0.0:
        return np.ones(shape)
    return random.gamma(1 / variance, variance, shape)
