"""Throughput measurements in images per second."""
