"""The section `model` of a configuration: its keys are those of the method that it names."""

import functools
import operator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Tag

from ..model import METHODS
from ..model.method import ModelConfig, config_class


def method_of(model: Any) -> str:
    """Which method's keys a section `model` has, of YAML or typed; of an unknown one simsiam's,
    whose own check then says so.
    """
    name = model.get("method") if isinstance(model, dict) else model.method
    return name if isinstance(name, str) and name in METHODS else "simsiam"


if TYPE_CHECKING:
    AnyModelConfig = ModelConfig
else:
    AnyModelConfig = Annotated[
        functools.reduce(
            operator.or_, (Annotated[config_class(name), Tag(name)] for name in METHODS)
        ),
        Discriminator(method_of),
    ]
