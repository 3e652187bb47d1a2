"""The other end of the worker's pipes, for tests: a real process, real messages."""

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from nerf_core.contract.messages import PROTOCOL_VERSION, Message, read_message, request, write_message

from .small_training import SETTINGS

SERVE = [sys.executable, "-m", "nerf_core", "serve"]
PATIENCE = 120.0
LONG = 10**7  # steps: until it is stopped


class RemoteError(Exception):
    """An error that the core answered with."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code, self.data = error["code"], error.get("data")


class Client:
    """Starts a core, sends requests and collects what comes back."""

    def __init__(self, log: Path, command: list[str] | None = None, greet: bool = True) -> None:
        self.log = log
        self._stderr = open(log, "wb")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2])])}
        self.process = subprocess.Popen(
            command or SERVE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        self.answers: dict[int, Message] = {}
        self.notes: list[Message] = []
        self.unnamed: list[Message] = []
        self.broken: Exception | None = None
        self._arrived: queue.Queue[Message | None] = queue.Queue()
        self._ids = 0
        threading.Thread(target=self._read, daemon=True).start()
        if greet:
            self.hello = self.call("hello", protocol=PROTOCOL_VERSION, client="test").result

    def send(self, method: str, /, **params: Any) -> int:
        self._ids += 1
        write_message(self.process.stdin, request(self._ids, method, **params))
        return self._ids

    def call(self, method: str, /, **params: Any) -> Message:
        return self.wait(self.send(method, **params))

    def wait(self, ident: int) -> Message:
        """The answer to a request; an error is raised."""
        self.until(lambda: ident in self.answers, f"answer {ident}")
        answer = self.answers[ident]
        if answer.error is not None:
            raise RemoteError(answer.error)
        return answer

    def wait_note(self, method: str, accept=lambda note: True, after: int = 0) -> Message:
        """The first notification of that kind among those from number `after` on."""

        def found() -> list[Message]:
            return [note for note in self.notes[after:] if note.method == method and accept(note)]

        self.until(lambda: bool(found()), f"notification {method}")
        return found()[0]

    def until(self, ready, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            try:
                message = self._arrived.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"no {what} within {PATIENCE} s; core.log: {self.log_text()[-2000:]}") from None
            if message is None:
                self._arrived.put(None)
                raise AssertionError(f"the core ended before {what}; core.log: {self.log_text()[-2000:]}")
            if message.is_notification:
                self.notes.append(message)
            elif message.id is None:
                self.unnamed.append(message)
            else:
                self.answers[message.id] = message

    def drain(self) -> None:
        """Take everything up to the end of the stream."""
        try:
            self.until(lambda: False, "more")
        except AssertionError:
            pass

    def close_stdin(self) -> None:
        self.process.stdin.close()

    def ended(self, timeout: float = 30.0) -> int:
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self._stderr):
            try:
                stream.close()
            except OSError:
                pass

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _read(self) -> None:
        try:
            while (message := read_message(self.process.stdout)) is not None:
                self._arrived.put(message)
        except Exception as error:
            self.broken = error
        self._arrived.put(None)


def rgba(message: Message) -> np.ndarray:
    return message.arrays["rgba"]


def begin_training(client: Client, run, data=None, **asked) -> int:
    if data is not None:
        asked["data"] = str(data)
    return client.send("train", run=str(run), method="classic", device="cpu", settings=SETTINGS, **asked)


def is_training(note) -> bool:
    return note.params["task"] == "train"


def patched(lines: str) -> list[str]:
    """A core with something changed in it: the command to start it with."""
    return [sys.executable, "-c", f"{lines}\nfrom nerf_core.cli import main\nimport sys\nsys.exit(main(['serve']))"]
