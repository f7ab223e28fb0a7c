"""The tables: the paper's claims, and the questions that its authors leave open. Chen and He,
"Exploring Simple Siamese Representation Learning", CVPR 2021; all figures are its own.
"""

from .table import BASE, Row, Table

_VARIANT = "model.method=simsiam_variant"
_SMALL_HEAD = "model.projection_dim={quarter_width}"
_SIMSIAM = Row(name=BASE, what="SimSiam", published=68.1)

_OPEN = "no table of the paper: a question that it leaves open"

_OUTPUT_NORM = (
    "The rows without BN at the projector's output are not the paper's: there nothing keeps the "
    "projections of a batch apart, and collapse is complete."
)


def _without_output_norm(*variants: tuple[str, tuple[str, ...]]) -> tuple[Row, ...]:
    """The same again where no BatchNorm stands between the method and collapse."""
    return tuple(
        Row(
            name=f"no-output-norm-{number}",
            what=what,
            overrides=(_VARIANT, "model.head_norm=hidden", *more),
        )
        for number, (what, more) in enumerate(variants, start=1)
    )


TABLES = {
    "stop-gradient": Table(
        title="Is it the stop-gradient that prevents collapse?",
        source="section 4.1, figure 2",
        rows=(
            Row(name=BASE, what="with stop-gradient", published=67.7),
            Row(
                name="no-stop-gradient",
                what="without",
                overrides=(_VARIANT, "model.target=shared"),
                published=0.1,
                collapses=True,
            ),
            *_without_output_norm(
                ("with, no BN at the output", ()),
                ("without, no BN at the output", ("model.target=shared",)),
            ),
        ),
        note=_OUTPUT_NORM,
    ),
    "predictor": Table(
        title="What does the predictor have to be?",
        source="section 4.2, table 1",
        rows=(
            Row(name=BASE, what="constant rate", published=68.1),
            Row(
                name="decayed",
                what="decayed rate",
                overrides=("optim.predictor_lr=decayed",),
                published=67.7,
            ),
            Row(
                name="fixed",
                what="fixed at random",
                overrides=(_VARIANT, "model.predictor=fixed"),
                published=1.5,
            ),
            Row(
                name="none",
                what="no predictor",
                overrides=(_VARIANT, "model.predictor=identity"),
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
                overrides=(f"train.batch_size={size}",),
                published=published,
            )
            for size, published in (
                *((64, 66.1), (128, 67.3), (256, 68.1), (512, 68.1), (1024, 68.0)),
                *((2048, 67.9), (4096, 64.0)),
            )
        ),
        note="The rate follows the batch linearly; from 1,024 on it is warmed up over 10 epochs. "
        "All sizes see as many pictures, so that large batches take few steps.",
    ),
    "batch-norm": Table(
        title="What is BatchNorm in the heads good for?",
        source="section 4.4, table 3",
        rows=(
            Row(
                name="none",
                what="none",
                overrides=(_VARIANT, "model.head_norm=nowhere"),
                published=34.6,
            ),
            Row(
                name="hidden",
                what="hidden layers",
                overrides=(_VARIANT, "model.head_norm=hidden"),
                published=67.4,
            ),
            Row(name=BASE, what="hidden and projector's output", published=68.1),
            Row(
                name="all",
                what="predictor's output too",
                overrides=(_VARIANT, "model.head_norm=predictor"),
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
                overrides=(_VARIANT, "model.similarity=cross_entropy"),
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
                overrides=(_VARIANT, "model.symmetry=asymmetric"),
                published=64.8,
            ),
            Row(
                name="asymmetric-2x",
                what="asymmetric, two pairs",
                overrides=(_VARIANT, "model.symmetry=asymmetric", "augment.num_views=4"),
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
                    what=f"{name} of the recipe's width",
                    overrides=(f"model.projection_dim={{{key}}}",),
                    published=published,
                )
                for name, key, published in (
                    ("8th", "eighth_width", 65.3),
                    ("4th", "quarter_width", 67.2),
                    ("half", "half_width", 67.5),
                )
            ),
            Row(name=BASE, what="the recipe's width", published=68.1),
        ),
        note="The paper's widths are 256, 512, 1,024 and 2,048; the hidden width of the predictor "
        "is a quarter of it.",
    ),
    "alternation": Table(
        title="Is SimSiam alternating optimisation of weights and targets?",
        source="section 5.3, multi-step alternation",
        rows=(
            Row(name=BASE, what="SimSiam"),
            *(
                Row(
                    name=f"hold-{name}",
                    what=f"targets held for {what}",
                    overrides=(_VARIANT, "model.target=held", f"model.hold_steps={steps}"),
                    published=published,
                )
                for name, what, steps, published in (
                    ("1", "1 step", "1", 68.1),
                    ("10", "10 steps", "10", 68.7),
                    ("100", "100 steps", "100", 68.9),
                    ("epoch", "an epoch", "{steps_per_epoch}", 67.0),
                )
            ),
        ),
        note="Held for one step it is SimSiam, by another way of computing it.",
    ),
    "expectation": Table(
        title="Does the predictor stand for an expectation over the augmentations?",
        source="section 5.3, expectation over augmentations",
        rows=(
            Row(
                name="average",
                what="moving average of a picture's targets",
                overrides=(_VARIANT, "model.predictor=identity", "model.target=picture_average"),
                published=55.0,
            ),
            Row(
                name="velocity",
                what="the same with a velocity of 0.5",
                overrides=(
                    *(_VARIANT, "model.predictor=identity", "model.target=picture_average"),
                    "model.target_velocity=0.5",
                ),
            ),
            Row(
                name="four-views",
                what="mean over three other views",
                overrides=(
                    *(_VARIANT, "model.predictor=identity", "model.target=other_views"),
                    "augment.num_views=4",
                ),
            ),
            Row(
                name="none",
                what="one other view",
                overrides=(_VARIANT, "model.predictor=identity"),
                published=0.1,
                collapses=True,
            ),
            Row(name=BASE, what="SimSiam, with a predictor", published=68.1),
        ),
        note="All but the last are without a predictor. The velocity and the four views are other "
        "solvers for the targets, of which the authors write that they are left to be tried.",
    ),
    "relatives": Table(
        title="How do its relatives fare under the same recipe?",
        source="section 6.1, table 4",
        rows=(
            _SIMSIAM,
            Row(
                name="simclr",
                what="SimCLR",
                overrides=("model.method=simclr", _SMALL_HEAD, "model.temperature=0.5"),
                published=66.5,
            ),
            Row(
                name="moco",
                what="MoCo v2",
                overrides=(
                    *("model.method=moco", _SMALL_HEAD, "model.queue=4096"),
                    "model.momentum=0.99",
                ),
                published=67.4,
            ),
            Row(
                name="byol",
                what="BYOL",
                overrides=(
                    *("model.method=byol", "model.projection_dim={half_width}"),
                    *("model.predictor_hidden={width}", "model.momentum=0.99"),
                ),
                published=66.5,
            ),
            Row(
                name="swav",
                what="SwAV",
                overrides=("model.method=swav", _SMALL_HEAD, "model.prototypes=100"),
                published=66.5,
            ),
        ),
        note="The paper tunes each method for itself; here all have SimSiam's optimiser and rate.",
    ),
    "crossings": Table(
        title="What do SimSiam's parts do for others?",
        source="section 6.2",
        rows=(
            *(
                Row(
                    name=name,
                    what=what,
                    overrides=(
                        *("model.method=simclr", _SMALL_HEAD, "model.temperature=0.5"),
                        *more,
                    ),
                    published=published,
                )
                for name, what, published, more in (
                    ("simclr", "SimCLR", 66.5, ()),
                    ("simclr-predictor", "with predictor", 66.4, ("model.predictor=mlp",)),
                    (
                        "simclr-both",
                        "with predictor and stop-gradient",
                        66.0,
                        ("model.predictor=mlp", "model.stop_gradient=true"),
                    ),
                )
            ),
            *(
                Row(
                    name=name,
                    what=what,
                    overrides=("model.method=swav", _SMALL_HEAD, "model.prototypes=100", *more),
                    published=published,
                )
                for name, what, published, more in (
                    ("swav", "SwAV", 66.5, ()),
                    ("swav-predictor", "SwAV with predictor", 65.2, ("model.predictor=mlp",)),
                    (
                        "swav-no-stop",
                        "SwAV without stop-gradient",
                        "NaN",
                        ("model.stop_gradient=false",),
                    ),
                )
            ),
        ),
    ),
    "training-length": Table(
        title="Does SimSiam's lead in short runs pass to BYOL in longer ones?",
        source="section 6.1, table 4: BYOL is behind at 100 epochs and ahead at 200 and more",
        rows=tuple(
            Row(
                name=f"{method}-{name}",
                what=f"{title}, {name} of the epochs",
                overrides=(f"train.epochs={{{key}}}", *more),
                published=published,
            )
            for name, key, figures in (
                ("quarter", "quarter_epochs", (68.1, 66.5)),
                ("half", "half_epochs", (70.0, 70.6)),
                ("all", "epochs", (70.8, 73.2)),
            )
            for (method, title, more), published in zip(
                (
                    ("simsiam", "SimSiam", ()),
                    (
                        "byol",
                        "BYOL",
                        (
                            *("model.method=byol", "model.projection_dim={half_width}"),
                            *("model.predictor_hidden={width}", "model.momentum=0.99"),
                        ),
                    ),
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
            Row(name=BASE, what="2 layers, a quarter wide"),
            Row(
                name="linear",
                what="1 layer",
                overrides=(_VARIANT, "model.predictor_layers=1"),
            ),
            Row(
                name="three",
                what="3 layers",
                overrides=(_VARIANT, "model.predictor_layers=3"),
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
"""By the name that `swiftsiam lab run` takes."""
