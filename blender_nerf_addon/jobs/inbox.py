"""What waits to be handled on the main thread: a queue that keeps only the newest of what grows stale."""

import threading
from collections import deque
from typing import Any

from ..vendor.nerf_core.contract.messages import Message

# While Blender renders for minutes nothing is drained: previews of megabytes must not pile up meanwhile.
_REPLACED = ("preview", "progress", "video.frame")


class Inbox:
    """A queue between the reader thread and the main thread.

    Of the notifications that grow stale only the newest of each run and task waits; all else waits in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[tuple[Any, Any]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Any) -> None:
        """Append `item`; called from any thread."""
        key = _stale_key(item)
        with self._lock:
            if key is not None:
                self._items = deque(entry for entry in self._items if entry[0] != key)
            self._items.append((key, item))

    def take(self) -> Any:
        """The oldest item, or None when nothing waits."""
        with self._lock:
            return self._items.popleft()[1] if self._items else None


def _stale_key(item: Any) -> tuple | None:
    if not isinstance(item, Message) or item.method not in _REPLACED or not item.is_notification:
        return None
    return item.method, item.params.get("run"), item.params.get("task")
