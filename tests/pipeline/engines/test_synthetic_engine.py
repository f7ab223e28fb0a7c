"""The synthetic engine: batches of the data set's order, and of nothing else of it."""

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.errors import BadSampleError
from swiftsiam.pipeline.loader import Loader


class UnreadableSource:
    """A listing without pictures."""

    format = "folder"
    classes = ("a", "b")
    labels = np.arange(10, dtype=np.int64) % 2
    left_out = ()
    digest = "none"

    def __len__(self) -> int:
        return 10

    def place(self, index: int) -> tuple[int, int, int]:
        raise BadSampleError("nowhere")

    def read(self, index: int) -> bytes:
        raise BadSampleError("unreadable")

    def key(self, index: int) -> str:
        return str(index)


def build(*, train: bool = True, dtype: torch.dtype = torch.float32) -> Loader:
    config = AugmentConfig(size=16)
    return build_loader(
        source=UnreadableSource(),
        specs=build_train_specs(config) if train else (build_eval_spec(config),),
        global_batch_size=4,
        train=train,
        seed=3,
        engine="synthetic",
        dtype=dtype,
    )


def test_same_order_and_labels_as_any_engine() -> None:
    with build() as loader:
        for epoch in range(2):
            order = loader._plan.epoch_order(epoch)[:8]
            batches = list(loader)
            assert torch.equal(torch.cat([b.index for b in batches]), torch.from_numpy(order))
            for batch in batches:
                assert torch.equal(batch.label, batch.index % 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_are_noise_in_the_layout_of_the_step(dtype: torch.dtype) -> None:
    with build(dtype=dtype) as loader:
        batch = next(iter(loader))
    assert len(batch.views) == 2
    for view in batch.views:
        assert view.shape == (4, 3, 16, 16)
        assert view.dtype == dtype
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert abs(view.float().mean()) < 0.1
        assert 0.9 < view.float().std() < 1.1
    assert not torch.equal(*batch.views)


def test_every_batch_is_the_same_memory() -> None:
    """Nothing is made or copied: that is what makes it the ceiling."""
    with build() as loader:
        places = {batch.views[0].data_ptr() for batch in loader}
    assert len(places) == 1


def test_the_last_batch_of_an_evaluation_is_shorter() -> None:
    with build(train=False) as loader:
        assert [len(batch.views[0]) for batch in loader] == [4, 4, 2]


def test_views_can_be_trained_on_wherever_the_loader_was_built() -> None:
    weight = torch.ones(3, requires_grad=True)
    with torch.inference_mode():
        loader = build()
    with loader:
        view = next(iter(loader)).views[0]
    (view * weight[:, None, None]).sum().backward()  # which an inference tensor refuses
    assert weight.grad is not None
