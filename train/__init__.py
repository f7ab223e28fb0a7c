"""Pre-training and evaluation: the only room that composes `pipeline` and `model`."""
