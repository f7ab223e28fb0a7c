"""Backbones, heads, SimSiam and its collapse statistics."""
