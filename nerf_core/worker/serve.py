"""The core's process: `python -m nerf_core serve` speaks JSON-RPC over its standard input and output.

It never outlives who started it: at the end of standard input, at SIGTERM, or when its parent is gone, what is being
trained is saved and the process ends, within `LAST_SECONDS` whatever it is doing.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from ..contract.errors import ProtocolError
from ..contract.messages import PARSE_ERROR, failure
from .channel import Channel, take_standard_streams

LAST_SECONDS = 4.5
PARENT_SECONDS = 0.5  # between two looks at whether the parent lives
EXIT_BROKEN = 2  # what arrived could not be understood


def main() -> int:
    """Serve one session; does not return."""
    source, sink = take_standard_streams()
    leaving = threading.Event()
    code = 0

    def leave() -> None:
        if not leaving.is_set():
            leaving.set()
            channel.inbox.put(None)

    def ended(error: ProtocolError | None) -> None:
        nonlocal code
        if error is not None:
            code = EXIT_BROKEN
            channel.send(failure(None, PARSE_ERROR, str(error)))
        leave()

    channel = Channel(source, sink, ended)
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda signum, frame: leave())
    threading.Thread(target=_watch_parent, args=(os.getppid(), leave), name="nerf-parent", daemon=True).start()
    threading.Thread(target=_watch_end, args=(leaving,), name="nerf-end", daemon=True).start()

    from .session import Session  # torch comes with it: after the streams are safe from its prints

    try:
        Session(channel, leaving).run()
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    channel.close(timeout=1.0)
    sys.stderr.flush()
    # Not a return: the reading thread may be blocked in a read that the interpreter's own end would wait for.
    os._exit(code)


def _watch_parent(parent: int, leave: Callable[[], None]) -> None:
    """Leave when the process was handed to another parent: a pipe alone may be held open by somebody else."""
    if sys.platform == "win32":
        return
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    leave()


def _watch_end(leaving: threading.Event) -> None:
    """End the process when what it is in the middle of takes too long; its last checkpoint is on disk, whole."""
    leaving.wait()
    time.sleep(LAST_SECONDS)
    print("The core was asked to leave and could not in time; the last checkpoint stays.", file=sys.stderr, flush=True)
    os._exit(0)
