"""What is quoted of repeated measurements."""

import statistics


def spread(values: list[float]) -> dict[str, float]:
    """Median, interquartile range and count of one or more values."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {
        "median": round(statistics.median(values), 3),
        "iqr": round(quartiles[2] - quartiles[0], 3),
        "n": len(values),
    }
