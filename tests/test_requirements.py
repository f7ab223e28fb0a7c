"""The skipping in conftest: absent engines and devices skip, or fail where they are required."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = """
import pytest
from swiftsiam.pipeline.engines import Need

Need.is_met = lambda self: False

@pytest.mark.engine("dali")
def test_dali(): pass

@pytest.mark.engine("ffcv")
def test_ffcv(): pass

def test_neither(): pass
"""


@pytest.mark.slow
def test_required_engines_fail_instead_of_skipping(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(_TESTS)
    (tmp_path / "none.ini").touch()  # not that of a folder above
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-c", "none.ini", "."],
        cwd=tmp_path,
        # Wide enough for the whole reasons.
        env={**os.environ, "REQUIRE_ENGINES": "ffcv", "PYTEST_ADDOPTS": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert "1 passed, 1 skipped" in done.stdout
    assert "DALI is not installed" in done.stdout
    assert "ERROR test_it.py::test_ffcv - Failed: libturbojpeg is not installed" in done.stdout
    assert done.returncode == 1
