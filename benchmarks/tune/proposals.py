"""What is tried: settings of the loader alone, none of which changes what is learnt."""

from functools import partial

from ...pipeline.engines import ENGINES
from ...pipeline.machine import num_cores
from ...train.config import Config, parse_config
from ...train.device import resolve
from .search import Changes, Propose, tell_changes

_LOADS = (0.0, 0.65, 0.75, 0.9, 1.0)
_DECODER_BATCHES = (16, 32, 64, 128, 256)
_DECODER_QUEUES = (1, 2, 3, 4)


class Proposals:
    """Of one configuration and one data set, on this machine."""

    def __init__(self, values: dict, overrides: list[str], *, format_name: str) -> None:
        """
        Args:
            values: of a recipe or file.
            overrides: `section.key=value`, laid over them.
            format_name: of the data set.
        """
        self._values = values
        self._overrides = overrides
        self._format = format_name

    def all(self) -> dict[str, Propose]:
        """By the name of what is set."""
        return {
            "engine": self._engines,
            "workers": self._workers,
            "views": self._views,
            "pictures at a time": partial(self._of_decoder, "decoder_batch", _DECODER_BATCHES),
            "decoder's queue": partial(self._of_decoder, "decoder_queue", _DECODER_QUEUES),
            "hardware decoder": partial(self._of_decoder, "hw_decoder_load", _LOADS),
        }

    def resolved(self, changes: Changes) -> Config:
        """The configuration with these changes, as this machine has it."""
        told = [*self._overrides, *tell_changes(changes)]
        return resolve(parse_config(self._values, told)).config

    def _engines(self, changes: Changes) -> list[Changes]:
        now = self.resolved(changes).loader.engine
        return [
            {"loader.engine": name}
            for name, info in ENGINES.items()
            if info.reads_pictures and name != now and not info.missing({self._format})
        ]

    def _workers(self, changes: Changes) -> list[Changes]:
        """Near the number as it is, fewer and more."""
        now, cores = self.resolved(changes).data.num_workers or 0, num_cores()
        near = {now // 2, now - 1, now + 1, 2 * now, cores}
        return [{"data.num_workers": n} for n in sorted(near) if 1 <= n <= cores and n != now]

    def _views(self, changes: Changes) -> list[Changes]:
        config = self.resolved(changes)
        if config.train.device != "cuda":
            return []
        return [{"loader.device": "cpu" if config.loader.device == "gpu" else "gpu"}]

    def _of_decoder(self, key: str, values: tuple, changes: Changes) -> list[Changes]:
        """Of an engine with a decoder that has settings."""
        config = self.resolved(changes)
        is_without = key == "hw_decoder_load" and config.train.device != "cuda"
        if is_without or ENGINES[config.loader.engine].gpu_trial is None:
            return []
        now = getattr(config.loader, key)
        return [{f"loader.{key}": value} for value in values if value != now]
