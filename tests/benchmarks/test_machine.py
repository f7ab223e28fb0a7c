"""Where results go: tried before the work, of which some takes minutes."""

from pathlib import Path

import pytest
from swiftsiam.benchmarks import convert, loader, loop, machine
from swiftsiam.benchmarks.gpu import command
from swiftsiam.pipeline.errors import UserError


@pytest.mark.parametrize(
    ("main", "option"),
    [(loader.main, "--json"), (loop.main, "--json"), (convert.main, "--json"), (command, "--out")],
    ids=["loader", "loop", "convert", "gpu"],
)
def test_a_place_that_cannot_be_made_is_told_before_the_work(
    class_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main, option: str
) -> None:
    (tmp_path / "a file").touch()
    folder = tmp_path / "a file" / "results"
    monkeypatch.setattr(machine, "results_folder", lambda: folder)
    arguments = [f"--data={class_folder}"]
    if main is command:
        monkeypatch.setattr(command.torch.cuda, "is_available", lambda: True)
        main = command.main
    with pytest.raises(UserError, match=rf"{option}: .*results cannot be made .*; give {option}"):
        main(arguments)
