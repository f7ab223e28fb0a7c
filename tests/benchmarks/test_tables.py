"""`bench tables`: README says what the results say, and made-up results give known lines."""

import json
from pathlib import Path
from typing import Any

import pytest
from swiftsiam.benchmarks import tables as module
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.results import Record
from swiftsiam.benchmarks.table_rows import TABLES, build
from swiftsiam.benchmarks.tables import README, RESULTS, fill, find_blocks
from swiftsiam.pipeline.errors import UserError

MACHINE = {"cpu": "a", "cores": 2, "gpu": None, "versions": {}, "commit": None}
BEGIN, END = "<!-- table: {} from a/x.json -->", "<!-- end of table -->"


def figure(median: float, iqr: float = 0.0) -> dict[str, Any]:
    """Of five rounds."""
    return {"median": median, "iqr": iqr, "n": 5}


def record(rate: float, core_ms: float, **facts: Any) -> Record:
    """With a rate."""
    return {
        "machine": MACHINE,
        "scope": "loader",
        "engine": "ffcv",
        "format": "as-is",
        "data": "photos",
        "work": "views",
        "images_per_s": figure(rate),
        "core_ms_per_image": figure(core_ms),
        "batch_size": 64,
        "num_workers": 2,
    } | facts


def step(rate: float, core_ms: float, lane: str, precision: str, **facts: Any) -> Record:
    """Of a lane."""
    return record(
        rate, core_ms, scope="step", engine="none", lane=lane, precision=precision, **facts
    )


STAGES = {"read": 0.0214, "decode": 1.2, "crop": 0.25}
VERDICT = {"machine": MACHINE, "scope": "verdict", "engine": "ffcv", "work": "what limits"}
LOADER = [
    record(150.0, 12.5, engine="dali-operators"),
    record(1137.569, 1.719, stages_ms_per_image=STAGES),
    record(874.079, 2.031, engine="dali", stages_ms_per_image=STAGES | {"rest": 0.1}),
    record(1356.176, 1.452, engine="decode-only"),
    {"machine": MACHINE, "scope": "loader", "engine": "lightly", "work": "-", "failure": "died"},
    record(1100.0, 1.75, name="formats"),
    record(3000.0, 0.6, name="formats", format="beton-raw"),
    record(1900.0, 1.8, name="scaling"),
    record(1000.0, 1.7, name="scaling", num_workers=1),
    VERDICT | {"data": "photos", "lines": ["limited by decoding", "convert /a/b/photos X.beton"]},
]
STEP = [
    step(212.8, 9.066, "plain fp32", "fp32"),
    step(374.5, 5.285, "plain bf16", "bf16"),
    step(408.6, 4.808, "plain bf16 NHWC", "bf16"),
    step(210.0, 9.265, "none", "fp32"),
    step(278.3, 7.024, "+ channels_last", "fp32", gain=figure(1.36, 0.199)),
    step(409.9, 4.817, "+ precision", "bf16", gain=figure(1.5, 0.1)),
    {"machine": MACHINE, "scope": "machine", "engine": "none", "lane": "roofline", "work": "-"},
]
TRAIN = [
    step(300.0, 6.6, "step", "bf16"),
    record(1500.0, 1.3, lane="cached", name="resnet50"),
    record(1200.0, 1.6, lane="cold", name="resnet50"),
    record(250.0, 7.9, scope="end-to-end", lane="end-to-end"),
]

EXPECTED = {
    "loader": (
        LOADER,
        """
| loader | core-ms an image | images/s |
|---|---|---|
| libjpeg-turbo decoding alone (the limit) | 1.45 | 1,356 |
| **swiftsiam, ffcv engine** | **1.72** | **1,138** |
| swiftsiam, dali engine | 2.03 | 874 |
| DALI's own operators on the CPU | 12.50 | 150 |
""",
    ),
    "stages": (
        LOADER,
        """
| workers' time, ms an image | read | decode | crop | rest | in all |
|---|---|---|---|---|---|
| swiftsiam, ffcv engine | 0.021 | 1.200 | 0.250 | – | 1.47 |
| swiftsiam, dali engine | 0.021 | 1.200 | 0.250 | 0.100 | 1.57 |
""",
    ),
    "formats": (
        LOADER,
        """
| the same pictures | core-ms an image | images/s |
|---|---|---|
| as given | 1.75 | 1,100 |
| a beton of raw pixels, 256 px at most | 0.60 | 3,000 |
""",
    ),
    "scaling": (
        LOADER,
        """
| workers | core-ms an image | images/s | over the first row |
|---|---|---|---|
| 1 | 1.70 | 1,000 | 1.00 |
| 2 | 1.80 | 1,900 | 1.90 |
""",
    ),
    "step": (
        STEP,
        """
| | images/s | core-ms an image | over the row above |
|---|---|---|---|
| a plain loop as the reference has it: float32, NCHW, torch's SGD | 213 | 9.07 | |
| the same in bf16 | 374 | 5.29 | |
| the same in bf16 and NHWC | 409 | 4.81 | |
| our step, no lane on | 210 | 9.27 | |
| + channels_last | 278 | 7.02 | 1.36 ± 0.10 |
| + precision (bf16) | 410 | 4.82 | 1.50 ± 0.05 |
""",
    ),
    "train": (
        TRAIN,
        """
| a training job in parts | images/s | core-ms an image |
|---|---|---|
| the step on one cached batch | 300 | 6.60 |
| the loader, on pictures read before | 1,500 | 1.30 |
| the loader, on files that lie on the disk alone | 1,200 | 1.60 |
| both: end-to-end | 250 | 7.90 |
""",
    ),
    "verdict": (
        LOADER,
        """
```
limited by decoding
convert DATA X.beton
```
""",
    ),
}


def write(folder: Path, records: list[Record]) -> Path:
    """As results of the machine `a`; the folder of its folder."""
    (folder / "a").mkdir()
    (folder / "a" / "x.json").write_text(json.dumps(records))
    return folder


def test_readme_is_as_the_results_have_it() -> None:
    text = README.read_text(encoding="utf-8")
    blocks = find_blocks(text.split("\n"))
    assert {"loader", "step"} <= {block.name for block in blocks}
    made, differing = fill(text, RESULTS)
    assert not differing, "run swiftsiam bench tables"
    assert made == text


def test_a_figure_that_was_changed_by_hand_is_seen_and_made_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, path = README.read_text(encoding="utf-8"), tmp_path / "README.md"
    monkeypatch.setattr(module, "README", path)
    block = next(block for block in find_blocks(text.split("\n")) if block.name == "loader")
    lines = text.split("\n")
    lines[block.end - 1] = lines[block.end - 1].replace(".", ".9", 1)
    assert "\n".join(lines) != text
    path.write_text("\n".join(lines), encoding="utf-8")
    broken = path.read_bytes()
    assert main(["tables", "--check"]) == 1
    told = capsys.readouterr().out
    assert f"README.md:{block.first}: table loader is not as {block.file} has it" in told
    assert "table step" not in told
    assert path.read_bytes() == broken
    assert main(["tables"]) == 0
    assert path.read_text(encoding="utf-8") == text
    assert main(["tables", "--check"]) == 0


@pytest.mark.parametrize("name", TABLES)
def test_made_up_results_give_known_lines(tmp_path: Path, name: str) -> None:
    records, expected = EXPECTED[name]
    text = f"before\n{BEGIN.format(name)}\nold\n{END}\nafter\n"
    made, differing = fill(text, write(tmp_path, records))
    assert made == f"before\n{BEGIN.format(name)}{expected}{END}\nafter\n"
    assert [(block.name, block.first) for block in differing] == [(name, 2)]
    assert fill(made, tmp_path) == (made, [])


@pytest.mark.parametrize("name", TABLES)
def test_what_holds_nothing_for_a_table_is_refused(tmp_path: Path, name: str) -> None:
    assert build(name, []) == []
    text = f"{BEGIN.format(name)}\n{END}"
    other = VERDICT | {"scope": "convert", "failure": "-"}
    with pytest.raises(UserError, match=rf"README.md:1: table {name}: a/x.json holds nothing"):
        fill(text, write(tmp_path, [other]))


def test_several_tables_each_come_from_their_own_file(tmp_path: Path) -> None:
    write(tmp_path, LOADER)
    (tmp_path / "a" / "y.json").write_text(json.dumps(STEP))
    markers = [BEGIN.format("loader"), BEGIN.format("step").replace("x.json", "y.json")]
    text = "\n".join(f"{marker}\n{END}\n" for marker in markers)
    made, differing = fill(text, tmp_path)
    assert [block.name for block in differing] == ["loader", "step"]
    assert EXPECTED["loader"][1] in made
    assert EXPECTED["step"][1] in made


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([BEGIN.format("speed"), END], "README.md:1: table speed: not one of loader, stages"),
        (
            ["", BEGIN.format("step").replace("x", "z"), END],
            "README.md:2: table step: results=.*z.json: cannot be read (No such file",
        ),
        (["", BEGIN.format("step")], "README.md:2: table step has no end; add <!-- end of"),
        ([BEGIN.format("step"), BEGIN.format("loader"), END], "README.md:1: table step has no end"),
        ([BEGIN.format("step"), "## Next", END], "README.md:1: table step has no end"),
        ([END], "README.md:1: ends a table that was not begun"),
        (["<!-- table: step -->", END], "README.md:1: <!-- table: step -->: write <!-- table: NA"),
        (["<!-- table: step from ../../x.json -->"], "README.md:1: .*: write <!-- table: NAME"),
    ],
)
def test_wrong_markers_are_told_in_one_line(tmp_path: Path, lines: list[str], told: str) -> None:
    write(tmp_path, STEP)
    with pytest.raises(UserError, match=told.replace("(", r"\(")) as error:
        fill("\n".join(lines), tmp_path)
    assert "\n" not in str(error.value)


def test_an_installation_without_readme_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "README", tmp_path / "README.md")
    with pytest.raises(UserError, match=r"README.md is in a checkout alone"):
        main(["tables", "--check"])
