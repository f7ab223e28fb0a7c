"""Overrides that several tables have in common: methods as for CIFAR-10, in the proportions of the
recipe's own width.
"""

VARIANT = "model.method=simsiam_variant"
PREDICTOR = "model.predictor=mlp", "model.predictor_hidden=null"
SMALL_HEAD = "model.projection_dim={quarter_width}"
SIMCLR = ("model.method=simclr", SMALL_HEAD, "model.temperature=0.5")
MOCO = ("model.method=moco", SMALL_HEAD, "model.queue=4096", "model.momentum=0.99")
BYOL = (
    *("model.method=byol", "model.projection_dim={half_width}"),
    *("model.predictor_hidden={width}", "model.momentum=0.99"),
)
SWAV = ("model.method=swav", SMALL_HEAD, "model.prototypes=100")
