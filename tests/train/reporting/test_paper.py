"""The paper's figures stand beside the recipes that are the paper's, and beside no other."""

import re
from importlib import resources

import pytest
from swiftsiam.train.config import read_config
from swiftsiam.train.recipes import list_recipes
from swiftsiam.train.reporting.paper import find_published

LINEAR = re.compile(r"[Ll]inear top-1 there: ([0-9.]+) %")


@pytest.mark.parametrize("recipe", list_recipes())
def test_recipes_have_the_figures_that_their_heads_tell(recipe: str) -> None:
    text = (resources.files("swiftsiam.train.configs") / f"{recipe}.yaml").read_text()
    told = LINEAR.search(text)
    published = find_published(read_config(recipe))
    assert (published and published.linear) == (told and float(told[1]))


def test_all_the_paper_tells_of_these_recipes() -> None:
    imagenet = {
        (epochs, batch): find_published(
            read_config(
                "imagenet-r50-100ep", [f"train.epochs={epochs}", f"train.batch_size={batch}"]
            )
        )
        for epochs in (100, 200, 400, 800)
        for batch in (256, 512)
    }
    found = {key: (p.linear, p.knn, p.source) for key, p in imagenet.items() if p is not None}
    assert found == {
        (100, 256): (68.1, None, "table 4"),
        (200, 256): (70.0, None, "table 4"),
        (400, 256): (70.8, None, "table 4"),
        (800, 256): (71.3, None, "table 4"),
        (100, 512): (68.1, None, "table 2"),
    }
    cifar = find_published(read_config("cifar10-r18-800ep"))
    assert cifar is not None
    assert (cifar.linear, cifar.knn) == (91.8, 90.4)
    assert "appendix D" in cifar.source


@pytest.mark.parametrize(
    "change",
    [
        "data.limit=20000",
        "model.backbone=cifar_resnet18_w16",
        "augment.preset=imagenet",
        "augment.size=64",
        "train.epochs=100",
        "train.batch_size=256",
    ],
)
def test_what_differs_from_a_recipe_is_another(change: str) -> None:
    assert find_published(read_config("cifar10-r18-800ep", [change])) is None
