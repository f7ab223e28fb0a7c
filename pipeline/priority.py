"""Of the threads that make batches, beside the trainer's."""

import os
import threading


def lower_priority() -> None:
    """Of this thread alone. The trainer's go first: they wait for batches only when none is ready,
    and one that launches a GPU's work must never wait for a core.
    """
    thread = threading.get_native_id()
    priority = min(os.getpriority(os.PRIO_PROCESS, thread) + 10, 19)
    os.setpriority(os.PRIO_PROCESS, thread, priority)
