"""Files of each kind, for the tests of what reads them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source

from .cifars import write_binary, write_python
from .parquets import HUB, Encode, structs, write
from .tars import Mistake


@pytest.fixture(scope="module")
def pictures(draw_picture: Callable[..., np.ndarray], encode: Encode) -> list[bytes]:
    """Ten PNGs."""
    return [encode(draw_picture(seed, 20 + seed, 24), "PNG") for seed in range(10)]


@pytest.fixture
def hub(tmp_path: Path, pictures: list[bytes]) -> Path:
    """A folder of two files of five pictures, each in row groups of four and one."""
    root = tmp_path / "hub"
    for number in range(2):
        some = slice(5 * number, 5 * number + 5)
        columns = {"image": structs(pictures[some]), "label": pa.array([0, 1, 2, 1, 0])}
        write(root / f"train-{number:05}-of-00002.parquet", columns, HUB)
    (root / "README.md").touch()
    (root / ".gitattributes").touch()
    return root


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    return write_binary(tmp_path / "cifar-10-batches-bin")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return write_python(tmp_path / "cifar-10-batches-py")


@pytest.fixture
def mistake(tmp_path: Path) -> Mistake:
    """(content, name="x.tar") → what is told of such a file, after field, value and colon."""

    def mistake(content: bytes, name: str = "x.tar") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            open_source(path)
        message = str(caught.value)
        assert message.isprintable()
        assert len(message) < 800
        start = f"data.path={path}: "
        assert message.startswith(start)
        return message.removeprefix(start)

    return mistake
