import pytest


@pytest.fixture(scope="module", autouse=True)
def _single_thread(single_thread: None) -> None:
    """For the small networks."""
