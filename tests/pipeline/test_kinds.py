"""One outcome for every kind of picture, the documented one, on every engine."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.errors import BadSampleError
from swiftsiam.pipeline.sources import Source

from .encoders import save
from .kinds import all_kinds


def _load(engine: str, source: Source) -> list[torch.Tensor | str]:
    """For each file its view, or the reason why there is none.

    Batches of one: a file that DALI fails at takes those beside it out of its hands.
    """
    specs = (build_eval_spec(AugmentConfig(size=40)),)
    loader = build_loader(
        source=source, specs=specs, global_batch_size=1, train=False, engine=engine
    )
    with loader:
        views = torch.cat([batch.views[0] for batch in loader])
        bad = {index: sample.reason for index, sample in loader.bad_samples.items()}
    return [bad.get(index, views[index]) for index in range(len(source))]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.engine(name))
        for name, info in ENGINES.items()
        if info.reads_pictures
    ],
)
def outcomes(
    request: pytest.FixtureRequest, listed: Callable[..., Source]
) -> dict[str, torch.Tensor | str]:
    """An engine's outcome for every kind."""
    files = (data for data, _ in all_kinds().values())
    return dict(zip(all_kinds(), _load(request.param, listed(*files)), strict=True))


@pytest.mark.parametrize("kind", all_kinds())
def test_decode_rgb(kind: str) -> None:
    data, expected = all_kinds()[kind]
    if isinstance(expected, str):
        with pytest.raises(BadSampleError, match=expected):
            decode_rgb(data)
    else:
        np.testing.assert_array_equal(decode_rgb(data), expected)


@pytest.mark.parametrize("kind", all_kinds())
def test_engine(
    kind: str, outcomes: dict[str, torch.Tensor | str], listed: Callable[..., Source]
) -> None:
    data, expected = all_kinds()[kind]
    outcome = outcomes[kind]
    if isinstance(expected, str):
        with pytest.raises(BadSampleError) as raised:
            decode_rgb(data)
        assert outcome == str(raised.value)
    else:
        (view,) = _load("torchvision", listed(save(expected, "PNG")))
        assert isinstance(outcome, torch.Tensor), outcome
        assert torch.equal(outcome, view)
