"""`swiftsiam config`: all keys with their meaning, as a file that can be used."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from swiftsiam.train.config import Config, read_config, section_types
from swiftsiam.train.config_command import read_docstrings
from swiftsiam.train.recipes import list_recipes

from .conftest import Cli


def test_every_key_says_what_it_is() -> None:
    owners = [owner for field in dataclasses.fields(Config) for owner in section_types(field.name)]
    assert len(owners) > len(dataclasses.fields(Config))
    for owner in owners:
        meanings = read_docstrings(owner)
        assert set(meanings) == {key.name for key in dataclasses.fields(owner)}
        assert all(text.strip() for text in meanings.values())


@pytest.mark.parametrize("name", [None, *list_recipes()])
def test_what_is_printed_is_that_configuration(name: str | None, here: Cli, tmp_path: Path) -> None:
    done = here("config", *([name] if name else []))
    assert done.returncode == 0
    (tmp_path / "mine.yaml").write_text(done.stdout)
    expected = read_config(name) if name else Config()
    assert read_config(str(tmp_path / "mine.yaml")) == expected
    assert list(yaml.safe_load(done.stdout)) == [f.name for f in dataclasses.fields(Config)]


@pytest.mark.parametrize("arguments", [["model.method=byol"], ["demo", "model.method=byol"]])
def test_the_keys_shown_are_those_of_the_method(
    arguments: list[str], here: Cli, tmp_path: Path
) -> None:
    done = here("config", *arguments)
    assert "  # BYOL.\n" in done.stdout
    (tmp_path / "mine.yaml").write_text(done.stdout)
    config = read_config(str(tmp_path / "mine.yaml"))
    assert config == (read_config(*arguments[:1], arguments[1:]) if len(arguments) > 1 else config)
    assert config.model.momentum == 0.99  # type: ignore[attr-defined]


def test_type_default_and_meaning_stand_above_each_key(here: Cli) -> None:
    lines = here("config", "demo").stdout.splitlines()
    place = lines.index("  epochs: 12")
    assert lines[place - 2 : place] == [
        "  # Passes over the training data.",
        "  # int from 1; default: 100",
    ]
    assert "  # auto | torchvision | ffcv | dali | synthetic; default: auto" in lines
    assert "  # float from 0.001 to 1000; default: 0.1" in lines
    assert all(len(line) <= 100 for line in lines)


def test_recipes_are_listed_with_what_stands_at_their_head(here: Cli) -> None:
    lines = here("config", "--list").stdout.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert [line.split()[0] for line in heads] == list_recipes()
    text = " ".join(line.strip() for line in lines)
    assert "800 epochs at batch 256: the paper's comparison with other methods" in text
    assert "Linear top-1 there: 71.3 % (table 4)." in text


def test_a_wrong_name_is_answered_with_the_nearest(here: Cli) -> None:
    done = here("config", "cifar10-cpo")
    assert done.returncode == 2
    assert "no such recipe; did you mean cifar10-cpu?" in done.stderr
