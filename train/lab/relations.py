"""Sections 5 and 6 of the paper: what SimSiam may be, and what it is to others. Chen and He,
"Exploring Simple Siamese Representation Learning", CVPR 2021; all figures are its own.
"""

from .shorthand import BYOL, MOCO, PREDICTOR, SIMCLR, SWAV, VARIANT
from .table import BASE, Row, Table

RELATIONS = {
    "alternation": Table(
        title="Is SimSiam alternating optimisation of weights and targets?",
        source="section 5.2, multi-step alternation",
        rows=(
            Row(name=BASE, what="SimSiam"),
            *(
                Row(
                    name=f"hold-{name}",
                    what=f"targets held for {what}",
                    overrides=(VARIANT, "model.target=held", f"model.hold_steps={steps}"),
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
        source="section 5.2, expectation over augmentations",
        rows=(
            Row(
                name="average",
                what="moving average of a picture's targets",
                overrides=(VARIANT, "model.predictor=identity", "model.target=picture_average"),
                published=55.0,
            ),
            Row(
                name="velocity",
                what="the same with a velocity of 0.5",
                overrides=(
                    *(VARIANT, "model.predictor=identity", "model.target=picture_average"),
                    "model.target_velocity=0.5",
                ),
            ),
            Row(
                name="four-views",
                what="mean over three other views",
                overrides=(
                    *(VARIANT, "model.predictor=identity", "model.target=other_views"),
                    "augment.num_views=4",
                ),
            ),
            Row(
                name="none",
                what="one other view",
                overrides=(VARIANT, "model.predictor=identity"),
                published=0.1,
                collapses=True,
            ),
            Row(name=BASE, what="SimSiam, with a predictor", published=68.1),
        ),
        note="All but the last are without a predictor. The velocity and the four views are other "
        "solvers for the targets, as the authors suggest to try them.",
    ),
    "relatives": Table(
        title="How do its relatives fare under the same recipe?",
        source="section 6.1, table 4",
        rows=(
            Row(name=BASE, what="SimSiam", published=68.1),
            Row(
                name="simclr",
                what="SimCLR",
                overrides=SIMCLR,
                published=66.5,
            ),
            Row(
                name="moco",
                what="MoCo v2",
                overrides=MOCO,
                published=67.4,
            ),
            Row(
                name="byol",
                what="BYOL",
                overrides=BYOL,
                published=66.5,
            ),
            Row(
                name="swav",
                what="SwAV",
                overrides=SWAV,
                published=66.5,
            ),
        ),
        note="The paper tunes each method for itself; here all have SimSiam's optimiser and rate, "
        "and widths, temperatures, queue and prototypes that are usual for CIFAR-10.",
    ),
    "crossings": Table(
        title="What do SimSiam's parts do for others?",
        source="section 6.2",
        rows=(
            *(
                Row(
                    name=name,
                    what=what,
                    overrides=(*SIMCLR, *more),
                    family="simclr",
                    published=published,
                )
                for name, what, published, more in (
                    ("simclr", "SimCLR", 66.5, ()),
                    ("simclr-predictor", "SimCLR with predictor", 66.4, PREDICTOR),
                    (
                        "simclr-both",
                        "SimCLR with predictor and stop-gradient",
                        66.0,
                        (*PREDICTOR, "model.stop_gradient=true"),
                    ),
                )
            ),
            *(
                Row(
                    name=name,
                    what=what,
                    overrides=(*SWAV, *more),
                    family="swav",
                    published=published,
                )
                for name, what, published, more in (
                    ("swav", "SwAV", 66.5, ()),
                    ("swav-predictor", "SwAV with predictor", 65.2, PREDICTOR),
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
}
