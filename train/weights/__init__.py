"""Weights in and out: what others have trained, and what others load."""
