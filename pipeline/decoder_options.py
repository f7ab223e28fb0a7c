"""How DALI decodes. Apart from the contract, so that a configuration is read without torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """How DALI decodes; changes no pixel on a CPU. `config.LoaderConfig` says why these."""

    hw_load: float = 0.65
    """Share of the JPEGs for a GPU's hardware decoder, 0 to 1."""
    num_threads: int | None = None
    """DALI's own; None: as many as workers."""
    batch_size: int | None = None
    """Pictures at a time; None: the engine's choice."""
    queue: int = 2
    """Such batches under way."""
    side: int = 1024
    """Buffers on a GPU are made for pictures of so many px a side; 0: none."""
