"""`python measure_memory.py FOLDER ENGINE EPOCHS WORKERS BATCH SIZE`: memory after each epoch, MB.

A process of its own: what the tests before have left in theirs would be as large as a leak.
"""

import gc
import json
import sys
from pathlib import Path

import psutil
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.sources import open_source


def anonymous_mb() -> float:
    """Of this process and all its workers. Pages of libraries come and go with other processes."""
    process = psutil.Process()
    total = 0
    for each in (process, *process.children(recursive=True)):
        status = Path(f"/proc/{each.pid}/status").read_text()
        total += int(status.partition("RssAnon:")[2].split()[0])
    return total / 1000


def main() -> None:
    folder, engine, epochs, workers, batch_size, size = sys.argv[1:]
    loader = build_loader(
        source=open_source(folder),
        specs=build_train_specs(AugmentConfig(size=int(size))),
        global_batch_size=int(batch_size),
        train=True,
        engine=engine,
        num_workers=int(workers),
    )
    figures = []
    with loader:
        for _ in range(int(epochs)):
            for _ in loader:
                pass
            gc.collect()
            figures.append(anonymous_mb())
    print(json.dumps(figures))


if __name__ == "__main__":  # the workers of a loader import this file
    main()
