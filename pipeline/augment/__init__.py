"""Two-view augmentation: what is to be done (spec), with which numbers (sampler), and how.

`reference` is the oracle in float64; `cpu` and `gpu` are the fast kernels held against it.
"""
