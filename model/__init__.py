"""Backbones, heads, the methods that train them, and their collapse statistics."""

METHODS = {
    "simsiam": ".simsiam",
    "simsiam_variant": ".variant",
    "simclr": ".simclr",
    "byol": ".byol",
    "moco": ".moco",
    "swav": ".swav",
}
"""By name, as `model.method` has it: the module that has `build(config) -> method.Method` and, for
keys of its own, a dataclass `Config` derived from `method.ModelConfig`.
"""
