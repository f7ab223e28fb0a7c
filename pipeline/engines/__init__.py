"""Engines: one file each, all with the contract of `pipeline.loader`, imported only when chosen."""
