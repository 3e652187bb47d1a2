"""The worker's two pipes: a thread that reads into a queue, a thread that writes from one, nobody else's prints."""

import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from ..contract.errors import ProtocolError
from ..contract.messages import Message, encode, read_message

MOST_UNSENT = 64 * 1024 * 1024  # bytes: beyond, previews and progress are dropped instead of kept for a slow reader


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep standard input and output for messages alone.

    File descriptor 1 afterwards leads to stderr, for C libraries' prints as well as Python's, and 0 to nothing; the
    copies that carry messages are not inherited by processes that are started later.
    """
    sys.stdout.flush()
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (source, sink):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return os.fdopen(source, "rb"), os.fdopen(sink, "wb")


class Channel:
    """Messages in and out.

    Parameters
    ----------
    source, sink : binary streams
    on_end : callable
        Called on the reading thread when the stream ends (None) or cannot be understood (the error).

    Attributes
    ----------
    inbox : queue.SimpleQueue of Message or None
        None only wakes whoever waits. Its `put` may be called from a signal handler, a `queue.Queue`'s may not.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO, on_end: Callable[[ProtocolError | None], None]) -> None:
        self.inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._source, self._sink, self._on_end = source, sink, on_end
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._unsent = 0
        self._lock = threading.Lock()
        self._writer = threading.Thread(target=self._write, name="nerf-writer", daemon=True)
        self._reader = threading.Thread(target=self._read, name="nerf-reader", daemon=True)

    def start(self) -> None:
        """Start both threads."""
        self._writer.start()
        self._reader.start()

    def send(self, message: Message, droppable: bool = False) -> None:
        """Have a message written; one that is `droppable` is not when the reader has fallen far behind."""
        with self._lock:
            if droppable and self._unsent > MOST_UNSENT:
                return
        data = encode(message)
        with self._lock:
            self._unsent += len(data)
        self._outbox.put(data)

    def close(self, timeout: float) -> None:
        """Write what is waiting, for at most `timeout` seconds."""
        self._outbox.put(None)
        self._writer.join(timeout)

    def _read(self) -> None:
        error: ProtocolError | None = None
        try:
            while (message := read_message(self._source)) is not None:
                self.inbox.put(message)
        except ProtocolError as caught:
            error = caught
        except OSError:  # the pipe broke: an end like any other
            pass
        self._on_end(error)
        self.inbox.put(None)

    def _write(self) -> None:
        broken = False
        while (data := self._outbox.get()) is not None:
            if not broken:
                try:
                    self._sink.write(data)
                    self._sink.flush()
                except OSError:  # nobody reads any more; the end of stdin says what to do
                    broken = True
            with self._lock:
                self._unsent -= len(data)
