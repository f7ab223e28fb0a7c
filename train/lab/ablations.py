"""Section 4 of the paper: which part of SimSiam matters. Chen and He,
"Exploring Simple Siamese Representation Learning", CVPR 2021; all figures are its own.
"""

from .shorthand import VARIANT
from .table import BASE, Row, Table

_OUTPUT_NORM = (
    "Without BN at the projector's output nothing keeps the projections of a batch apart, and "
    "collapse is complete; the paper's own rows have it."
)
_BOTTLENECK = "model.predictor_hidden=null"  # a quarter of the output's width, whatever that is
_WARM_FROM = 1024


def _without_output_norm(*variants: tuple[str, tuple[str, ...]]) -> tuple[Row, ...]:
    """The same again where no BatchNorm stands between the method and collapse."""
    return tuple(
        Row(
            name=f"no-output-norm-{number}",
            what=what,
            overrides=(VARIANT, "model.head_norm=hidden", *more),
        )
        for number, (what, more) in enumerate(variants, start=1)
    )


def _warm_up(batch_size: int) -> tuple[str, ...]:
    return ("optim.warmup_epochs={warmup_epochs}",) if batch_size >= _WARM_FROM else ()


ABLATIONS = {
    "stop-gradient": Table(
        title="Is it the stop-gradient that prevents collapse?",
        source="section 4.1, figure 2",
        rows=(
            Row(name=BASE, what="with stop-gradient", published=67.7),
            Row(
                name="no-stop-gradient",
                what="without",
                overrides=(VARIANT, "model.target=shared"),
                published=0.1,
                collapses=True,
            ),
            *_without_output_norm(
                ("with, no BN at the output", ()),
                ("without, no BN at the output", ("model.target=shared",)),
            ),
        ),
        note="The paper's 67.7 is of its recipe with the predictor's rate decayed; ours is "
        f"constant, as in the other tables. {_OUTPUT_NORM}",
    ),
    "predictor": Table(
        title="What does the predictor have to be?",
        source="section 4.2, table 1",
        rows=(
            Row(
                name=BASE,
                what="constant rate",
                overrides=("optim.predictor_lr=constant",),
                published=68.1,
            ),
            Row(
                name="decayed",
                what="decayed rate",
                overrides=("optim.predictor_lr=decayed",),
                published=67.7,
            ),
            Row(
                name="fixed",
                what="fixed at random",
                overrides=(VARIANT, "model.predictor=fixed"),
                published=1.5,
            ),
            Row(
                name="none",
                what="no predictor",
                overrides=(VARIANT, "model.predictor=identity"),
                published=0.1,
                collapses=True,
            ),
            *_without_output_norm(
                ("no predictor, no BN at the output", ("model.predictor=identity",)),
            ),
        ),
        note="With the predictor fixed training does not converge, says the paper: the loss "
        f"remains high, which is not collapse. {_OUTPUT_NORM}",
    ),
    "batch-size": Table(
        title="Does it take large batches?",
        source="section 4.3, table 2",
        rows=tuple(
            Row(
                name=f"batch-{size}",
                what=f"{size:,}",
                overrides=(f"train.batch_size={size}", *_warm_up(size)),
                published=published,
            )
            for size, published in (
                *((64, 66.1), (128, 67.3), (256, 68.1), (512, 68.1), (1024, 68.0)),
                *((2048, 67.9), (4096, 64.0)),
            )
        ),
        note="The rate follows the batch linearly; from 1,024 on it is warmed up over a tenth of "
        "the epochs, 10 at most, as the paper's 100 epochs have it. All sizes go over the same "
        "pictures as often (but for those that fill no whole batch), so that large batches take "
        "fewer steps.",
    ),
    "batch-norm": Table(
        title="What is BatchNorm in the heads good for?",
        source="section 4.4, table 3",
        rows=(
            Row(
                name="none",
                what="none",
                overrides=(VARIANT, "model.head_norm=nowhere"),
                published=34.6,
            ),
            Row(
                name="hidden",
                what="hidden layers",
                overrides=(VARIANT, "model.head_norm=hidden"),
                published=67.4,
            ),
            Row(name=BASE, what="hidden and projector's output", published=68.1),
            Row(
                name="all",
                what="predictor's output too",
                overrides=(VARIANT, "model.head_norm=predictor"),
                published="unstable",
            ),
        ),
    ),
    "similarity": Table(
        title="Does it take the cosine?",
        source="section 4.5",
        rows=(
            Row(name=BASE, what="cosine", published=68.1),
            Row(
                name="cross-entropy",
                what="cross-entropy",
                overrides=(VARIANT, "model.similarity=cross_entropy"),
                published=63.2,
            ),
        ),
    ),
    "symmetry": Table(
        title="Does it take the symmetric loss?",
        source="section 4.6",
        rows=(
            Row(name=BASE, what="symmetric", published=68.1),
            Row(
                name="asymmetric",
                what="asymmetric",
                overrides=(VARIANT, "model.symmetry=asymmetric"),
                published=64.8,
            ),
            Row(
                name="asymmetric-2x",
                what="asymmetric, two pairs",
                overrides=(VARIANT, "model.symmetry=asymmetric", "augment.num_views=4"),
                published=67.3,
            ),
        ),
        note="Two pairs of views of each picture make up for what the asymmetric loss leaves out.",
    ),
    "output-width": Table(
        title="How wide must the output be?",
        source="appendix B",
        rows=(
            *(
                Row(
                    name=f"width-{name}",
                    what=f"{what} of the recipe's width",
                    overrides=(f"model.projection_dim={{{key}}}", _BOTTLENECK),
                    published=published,
                )
                for name, what, key, published in (
                    ("8th", "an eighth", "eighth_width", 65.3),
                    ("4th", "a quarter", "quarter_width", 67.2),
                    ("half", "half", "half_width", 67.5),
                )
            ),
            Row(name=BASE, what="the recipe's width", overrides=(_BOTTLENECK,), published=68.1),
        ),
        note="The paper's widths are 256, 512, 1,024 and 2,048; the hidden width of the predictor "
        "is a quarter of it.",
    ),
}
