"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """Linear warm-up, then half a cosine to zero."""

    peak: float
    epochs: int
    steps_per_epoch: int
    warmup_epochs: int = 0
    per_epoch: bool = False
    """True: the cosine moves at each epoch's start only, as in the reference."""

    def at(self, step: int) -> float:
        """The rate of optimisation step `step`, counted from 0."""
        warmup = self._warmup(step)
        if warmup < 1:
            return self.peak * warmup
        epoch = step // self.steps_per_epoch if self.per_epoch else step / self.steps_per_epoch
        progress = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.peak * 0.5 * (1 + math.cos(math.pi * max(progress, 0.0)))

    def constant_at(self, step: int) -> float:
        """The rate of what is never decayed; it takes part in the warm-up."""
        return self.peak * self._warmup(step)

    def _warmup(self, step: int) -> float:
        steps = self.warmup_epochs * self.steps_per_epoch
        return min((step + 1) / steps, 1.0) if steps else 1.0
