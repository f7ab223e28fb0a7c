"""swiftsiam: SimSiam self-supervised pre-training at the speed of the hardware."""

__version__ = "0.1.0"

_PUBLIC = {
    "AugmentConfig": "pipeline.augment.spec",
    "Batch": "pipeline.contract",
    "Encoder": "train.weights.encoder",
    "Loader": "pipeline.loader",
    "UserError": "pipeline.errors",
    "build_eval_spec": "pipeline.augment.spec",
    "build_loader": "pipeline.building",
    "build_train_specs": "pipeline.augment.spec",
    "load_encoder": "train.weights.encoder",
    "open_source": "pipeline.sources",
}
"""For use in programs: the name, and where it is defined. Each is imported on use."""

__all__ = ["__version__", *_PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
