"""The engine in which DALI decodes: see `engine`."""
