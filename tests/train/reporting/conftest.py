"""A run that is reported of, copies of it, and what it says itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from swiftsiam.train.reporting.markdown import build_table
from swiftsiam.train.reporting.series import read_runs

from ..conftest import TIMEOUT_S, start, tiny

Change = Callable[..., Path]


@pytest.fixture(scope="session")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a kNN after each epoch and before the first."""
    folder = tmp_path_factory.mktemp("made")
    process = start(tiny(pictures, "run", "eval.every=1", "eval.floors=true"), folder)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return folder / "run"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Change:
    """(name, {text of config.yaml: other}) → a copy of the run."""

    def copy(name: str, changes: dict[str, str] | None = None) -> Path:
        path = Path(shutil.copytree(made, tmp_path / name))
        text = (path / "config.yaml").read_text()
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        (path / "config.yaml").write_text(text)
        return path

    return copy


def read_records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def table_of(*paths: Path) -> dict[str, list[str]]:
    return {line.title: line.cells for line in build_table(read_runs(paths))}
