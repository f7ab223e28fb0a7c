"""Runs side by side: figures, curves, and what their features hold to be alike."""
