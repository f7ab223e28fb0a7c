"""The pictures of a table: which they are, and what tells them from others."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.sources import Source, open_source
from ...pipeline.sources.parts import find_parts
from ..config import Config, replace
from ..demo import prepare_generated
from ..evaluation.labelled import num_asking


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What tells one from another."""

    digest: str
    """Of the pictures to train on."""
    val_digest: str
    """Of those that kNN asks about."""
    count: int
    """Of the pictures to train on, before they are limited."""
    num_classes: int
    """0: without labels."""

    def is_of(self, other: "DataSet") -> bool:
        """Whether both hold the same pictures."""
        return (self.digest, self.val_digest) == (other.digest, other.val_digest)


def add_data(recipe: Config, data: str | None, val: str | None) -> Config:
    """The recipe with pictures: those named, or those of the recipe's own file, or generated ones.

    Args:
        recipe: of all variants.
        data: pictures to train on, or a folder with such and labelled ones in it.
        val: labelled pictures.

    Raises:
        UserError: they cannot be opened.
    """
    if data is not None:
        path, val = find_data(data, val)
    elif recipe.data.path is not None:
        path, val = recipe.data.path, recipe.data.val_path
    else:
        path, val = prepare_generated()
    return replace(recipe, data={"path": path, "val_path": val, "limit": None})


def find_data(data: str, val: str | None) -> tuple[str, str | None]:
    """Where to train, and where to ask."""
    folder = Path(data)
    if val is None and folder.is_dir():
        names = {path.name.lower(): path.name for path in folder.iterdir() if path.is_dir()}
        train, held_out = find_parts(names)
        if train and held_out:
            return str(folder / train), str(folder / held_out)
    source = open_source(data, field="--data")
    return str(data), str(val) if val else str(data) if source.classes else None


def count_labelled(config: Config, source: Source) -> tuple[int, int]:
    """Pictures that kNN may look among, and that ask."""
    path = config.data.val_path
    if path is None:
        return len(source), 0
    if path == config.data.path:
        asking = num_asking(len(source))
        return len(source) - asking, asking
    return len(source), len(open_source(path, field="--val"))


def describe_data(config: Config, source: Source) -> DataSet:
    """Of a configuration whose pictures to train on are open already."""
    path, val_digest = config.data.val_path, source.digest
    if path is not None and path != config.data.path:
        val_digest = open_source(path, field="--val").digest
    return DataSet(
        digest=source.digest,
        val_digest=val_digest,
        count=len(source),
        num_classes=len(source.classes) if source.classes else 0,
    )
