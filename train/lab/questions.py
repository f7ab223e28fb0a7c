"""Questions that the paper leaves open."""

from .shorthand import BYOL, VARIANT
from .table import BASE, Row, Table

_OPEN = "No table of the paper: a question that it leaves open, or touches only"

QUESTIONS = {
    "training-length": Table(
        title="Does SimSiam's lead in short runs pass to BYOL in longer ones?",
        source="section 6.1, table 4: BYOL is behind at 100 epochs and ahead at 200 and more",
        rows=tuple(
            Row(
                name=f"{method}-{name}",
                what=f"{title}, {name} of the epochs",
                overrides=(f"train.epochs={{{key}}}", *more),
                published=published,
                family=name,
            )
            for name, key, figures in (
                ("quarter", "quarter_epochs", (68.1, 66.5)),
                ("half", "half_epochs", (70.0, 70.6)),
                ("all", "epochs", (70.8, 73.2)),
            )
            for (method, title, more), published in zip(
                (
                    ("simsiam", "SimSiam", ()),
                    ("byol", "BYOL", BYOL),
                ),
                figures,
                strict=True,
            )
        ),
        note="The paper's are at 100, 200 and 400 epochs.",
    ),
    "predictor-shape": Table(
        title="How deep and how wide must the predictor be?",
        source=_OPEN,
        rows=(
            Row(name=BASE, what="2 layers, as the recipe has it"),
            Row(
                name="linear",
                what="1 layer",
                overrides=(VARIANT, "model.predictor_layers=1"),
            ),
            Row(
                name="three",
                what="3 layers",
                overrides=(VARIANT, "model.predictor_layers=3"),
            ),
            Row(
                name="narrow",
                what="an eighth wide",
                overrides=("model.predictor_hidden={eighth_width}",),
            ),
            Row(
                name="wide",
                what="as wide as the output",
                overrides=("model.predictor_hidden={width}",),
            ),
        ),
    ),
    "projector-shape": Table(
        title="How deep and how wide must the projector be?",
        source=_OPEN,
        rows=(
            *(
                Row(
                    name=f"layers-{count}",
                    what=f"{count} layer{'s' * (count > 1)}",
                    overrides=(f"model.projector_layers={count}",),
                )
                for count in (1, 2, 3, 4)
            ),
            Row(
                name="half-hidden",
                what="hidden layers half as wide",
                overrides=("model.projector_hidden={half_hidden}",),
            ),
            Row(
                name="double-hidden",
                what="hidden layers twice as wide",
                overrides=("model.projector_hidden={double_hidden}",),
            ),
        ),
    ),
    "augmentations": Table(
        title="What does each augmentation give?",
        source=_OPEN,
        rows=(
            Row(name=BASE, what="all"),
            Row(
                name="no-crop", what="crops of at least 90 %", overrides=("augment.min_scale=0.9",)
            ),
            Row(name="no-jitter", what="no colour jitter", overrides=("augment.jitter_prob=0",)),
            Row(name="no-grayscale", what="no grayscale", overrides=("augment.grayscale_prob=0",)),
            Row(name="no-blur", what="no blur", overrides=("augment.blur_prob=0",)),
            Row(name="no-flip", what="no flip", overrides=("augment.flip_prob=0",)),
        ),
        note="One left out at a time. For CIFAR there is no blur to leave out.",
    ),
}
