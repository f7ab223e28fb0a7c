"""Configurations: what is read, what is refused, and with which words."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.config import (
    Config,
    parse_config,
    read_config,
    replace,
    section_types,
    to_yaml,
)
from swiftsiam.train.recipes import list_recipes

KEYS = [
    (section.name, key.name)
    for section in dataclasses.fields(Config)
    for owner in section_types(section.name)
    for key in dataclasses.fields(owner)
]


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_reads_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    config = read_config(name)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert read_config(str(path)) == config


def test_small_numbers_are_numbers_in_files_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("optim: {weight_decay: 1e-4}")  # PyYAML alone reads a string
    config = read_config(str(path), ["optim.base_lr=3e-2"])
    assert config.optim.weight_decay == 0.0001
    assert config.optim.base_lr == 0.03


def test_overrides_are_split_at_the_first_equals_sign() -> None:
    assert parse_config({}, ["data.path=/a=b"]).data.path == "/a=b"


def test_null_clears_an_optional_key() -> None:
    assert (
        parse_config({"data": {"num_workers": 3}}, ["data.num_workers=null"]).data == Config().data
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["train.epoch=3"], ["train.epoch", "did you mean train.epochs"]),
        (["optm.base_lr=1"], ["optm", "no such key"]),
        (["epochs=3"], ["section.key=value", "did you mean train.epochs"]),
        (["train.epochs"], ["section.key=value"]),
        (["train.epochs=many"], ["train.epochs='many'", "integer"]),
        (["train.epochs=0"], ["train.epochs='0'", "greater than or equal to 1"]),
        (["optim.base_lr=-1"], ["optim.base_lr", "greater than 0"]),
        (["optim.base_lr=nan"], ["optim.base_lr"]),
        (["train.seed=" + "9" * 24], ["train.seed", "less than or equal to"]),
        (["data.num_workers=100000"], ["data.num_workers", "less than or equal to 1024"]),
        (["train.num_threads=4096"], ["train.num_threads", "less than or equal to 1024"]),
        (["train.batch_size=10000000"], ["train.batch_size", "less than or equal to"]),
        (["model.projection_dim=99999999"], ["model.projection_dim", "less than or equal to"]),
        (["eval.temperature=1e-9"], ["eval.temperature", "greater than or equal to"]),
        (["data.path=~nobody-of-this-name/x"], ["data.path=~nobody", "no such home folder"]),
        (["data.path=s3://bucket/x"], ["data.path=s3://bucket/x: is an address"]),
        (["optim.base_lr=inf"], ["optim.base_lr", "finite"]),
        (["augment.size=4"], ["augment.size", "greater than or equal to 8"]),
        (["loader.engine=dally"], ["loader.engine='dally'", "torchvision"]),
        (["model.method=simsam"], ["model.method='simsam'", "'simsiam'", "'byol'"]),
        (
            ["model.temperature=1"],
            ["model.temperature", "simsiam", "but of simclr, moco, swav; set"],
        ),
        (["model.method=swav", "model.protoypes=9"], ["did you mean model.prototypes"]),
        (["model.method=byol", "model.momentum=2"], ["model.momentum='2'", "equal to 1"]),
        (["model.backbone=resnet51"], ["model.backbone='resnet51'", "resnet50"]),
        (["train.channels_last=maybe"], ["train.channels_last", "boolean"]),
    ],
)
def test_bad_values_are_named_with_a_remedy(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        parse_config({}, overrides)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {epochs: 1, epochs: 2}", ["epochs", "twice"]),
        ("train: [1, 2]", ["train", "section"]),
        ("epochs: 3", ["epochs=3", "train.epochs"]),
        ("train: {epochs: [}", ["not YAML", "line 1"]),
        ("!!python/object/apply:os.system ['true']", ["not YAML"]),
        ("just words", ["sections"]),
    ],
)
def test_bad_files_are_named_with_a_remedy(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_config(str(path))
    for word in words:
        assert word in str(error.value)


def test_files_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    text = "# Größe\r\ntrain: {epochs: 7}\r\n"
    path = tmp_path / "c.yaml"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes(text.encode(encoding))
        assert read_config(str(path)).train.epochs == 7
    for content, word in (
        (text.encode("utf-16"), "UTF-16"),
        (text.encode("cp1252"), "not UTF-8 at line 1"),
        (b"train:\n  a: \xff", "not UTF-8 at line 2"),
        (bytes(range(256)), "UTF-8"),
        (b"train:\n\tepochs: 1\n", "not YAML at line 2"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=word) as error:
            read_config(str(path))
        assert "\n" not in str(error.value)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        read_config(str(tmp_path / "folder.yaml"))


def test_paths_are_absolute_once_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home-of-a-test")
    config = parse_config({"data": {"path": "~/train"}}, ["data.val_path=val", "run.dir=runs/a"])
    assert config.data.path == "/home-of-a-test/train"
    assert config.data.val_path == str(tmp_path / "val")
    assert config.run.dir == str(tmp_path / "runs" / "a")
    assert parse_config({}, ["data.path=caf\udce9"]).data.path == f"{tmp_path}/caf\udce9"


def test_a_name_of_any_bytes_survives_the_file(tmp_path: Path) -> None:
    config = parse_config({}, ["data.path=/caf\udce9 $x"])
    path = tmp_path / "config.yaml"
    path.write_bytes(to_yaml(config).encode())
    assert read_config(str(path)) == config


def test_missing_file_and_recipe() -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        read_config("nowhere.yaml")
    with pytest.raises(UserError, match="did you mean cifar10-cpu"):
        read_config("cifar10_cpu")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([s for s, _ in KEYS]) | st.text(max_size=6), ANYTHING))
def test_any_mapping_is_a_config_or_a_user_error(values: dict[str, Any]) -> None:
    error = None
    try:
        config = parse_config(values, [])
    except UserError as caught:
        error = caught
    else:
        assert isinstance(config, Config)
    assert error is None or str(error).strip()


@given(st.sampled_from(KEYS), st.text(max_size=12) | st.integers().map(str))
def test_any_override_is_a_config_or_names_its_key(place: tuple[str, str], value: str) -> None:
    section, key = place
    message = None
    try:
        config = parse_config({}, [f"{section}.{key}={value}"])
    except UserError as error:
        message = str(error)
    else:
        untouched = [s for s, _ in KEYS if s != section]
        assert all(getattr(config, s) == getattr(Config(), s) for s in untouched)
    assert message is None or f"{section}.{key}" in message


@pytest.mark.slow
@given(
    st.integers(1, 10_000),
    st.floats(1e-6, 10),
    st.sampled_from(["auto", "cpu"]),
    st.none() | st.integers(0, 64),
)
def test_round_trip_of_any_valid_values(
    epochs: int, base_lr: float, device: str, workers: int | None
) -> None:
    config = replace(
        Config(),
        train={"epochs": epochs, "device": device},
        optim={"base_lr": base_lr},
        data={"num_workers": workers},
    )
    import yaml

    assert parse_config(yaml.safe_load(to_yaml(config)), []) == config
