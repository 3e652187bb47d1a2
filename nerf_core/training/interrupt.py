"""Ctrl-C while training: the step is finished and saved, and a second Ctrl-C gives up at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C was pressed; the old handler is put back afterwards.

    Off the main thread, where Python takes no signals, the function always says no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()

    def interrupted(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
