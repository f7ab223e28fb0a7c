import math

import pytest
from swiftsiam.model.method import ModelConfig
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.train.optim import (
    OptimConfig,
    build_learning_rate,
    build_optimizer,
    set_learning_rate,
)


def build(**settings: object):
    config = OptimConfig(**settings)  # type: ignore[arg-type]
    return config, build_learning_rate(config, batch_size=512, epochs=20, steps_per_epoch=10)


def test_cosine_per_step() -> None:
    _, rate = build()
    assert rate.at(0) == pytest.approx(0.1)  # 0.05 × 512 / 256
    assert rate.at(100) == pytest.approx(0.05)
    assert rate.at(57) == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 57 / 200)))
    assert 0 < rate.at(199) < 1e-4


def test_cosine_per_epoch_as_the_reference_moves_it() -> None:
    _, rate = build(schedule="epoch")
    assert rate.at(19) == rate.at(10) == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi / 20)))


def test_warmup_is_automatic_from_1024_on() -> None:
    config = OptimConfig()
    large = build_learning_rate(config, batch_size=1024, epochs=20, steps_per_epoch=10)
    assert large.warmup_epochs == 10
    assert large.at(0) == pytest.approx(0.2 / 100)
    assert large.at(99) == pytest.approx(0.2)
    assert (
        build_learning_rate(config, batch_size=1023, epochs=20, steps_per_epoch=1).warmup_epochs
        == 0
    )


@pytest.mark.parametrize("mode", ["constant", "decayed"])
def test_only_the_predictor_may_keep_its_rate(mode: str) -> None:
    model = SimSiam(ModelConfig(backbone="cifar_resnet18_w16", projection_dim=32))
    config, rate = build(predictor_lr=mode)
    optimizer = build_optimizer(model, config, lr=rate.peak)
    set_learning_rate(optimizer, rate, step=150)
    predictor = {id(p) for p in model.predictor.parameters()}
    for group in optimizer.param_groups:
        is_predictor = {id(p) for p in group["params"]} == predictor
        expected = 0.1 if is_predictor and mode == "constant" else rate.at(150)
        assert group["lr"] == pytest.approx(expected)


def test_every_trainable_parameter_is_optimised_with_weight_decay() -> None:
    model = SimSiam(ModelConfig(backbone="cifar_resnet18_w16", projection_dim=32))
    config, rate = build(weight_decay=3e-4)
    groups = build_optimizer(model, config, lr=rate.peak).param_groups
    optimised = {id(p) for group in groups for p in group["params"]}
    assert optimised == {id(p) for p in model.parameters() if p.requires_grad}
    assert {group["weight_decay"] for group in groups} == {3e-4}
    assert {group["momentum"] for group in groups} == {0.9}
