"""The engine for betons, and the fastest on the CPU for any other source: see `engine`."""
