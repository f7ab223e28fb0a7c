"""What programs import from `swiftsiam`, and the example that README has of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import swiftsiam
import torch
import torchvision

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", swiftsiam.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(swiftsiam, name)
    assert name in dir(swiftsiam)


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="build_nothing"):
        _ = swiftsiam.build_nothing


def test_nothing_is_imported_before_its_use() -> None:
    code = "import sys, swiftsiam; print({'torch', 'numpy', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def read_examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_readmes_other_example_runs(class_folder: Path, tmp_path: Path) -> None:
    _, example = read_examples()
    network = torchvision.models.resnet50().state_dict()
    torch.save(network, tmp_path / "weights.pt")
    picture = next(path for path in sorted(class_folder.rglob("*")) if path.is_file())
    example = example.replace("/path/to/run", "weights.pt")
    script = tmp_path / "example.py"
    script.write_text(example.replace("/path/to/picture.jpg", str(picture)))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "torch.Size([1, 2048])\n"


def test_readmes_example_runs(class_folder: Path, tmp_path: Path) -> None:
    example, _ = read_examples()
    assert example.count("/path/to/train") == 1
    assert example.count("global_batch_size=256") == 1
    script = tmp_path / "example.py"
    script.write_text(example.replace("/path/to/train", str(class_folder)).replace("=256", "=8"))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=500
    )
    assert done.returncode == 0, done.stderr
    shapes = done.stdout.splitlines()
    assert shapes == ["torch.Size([8, 3, 224, 224]) torch.Size([8])"] * 2 * (23 // 8)
