"""Backbones, heads, the methods that train them, and their collapse statistics."""

METHODS = {"simsiam": ".simsiam"}
"""By name, as `model.method` has it: the module that has `build(config) -> method.Method`."""
