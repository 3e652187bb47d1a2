"""The worker, as a real process: however it ends, what was trained is saved, and it leaves."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from nerf_core.contract.messages import (
    PARSE_ERROR,
    PROTOCOL_VERSION,
    encode,
    read_message,
    request,
)
from nerf_core.training.checkpoint import load_checkpoint

from . import tiny_scene
from .worker_client import LONG, begin_training, is_training, patched


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("ünï cöde") / "data set", size=16)


def test_the_end_of_stdin_saves_and_ends(start, data, tmp_path):
    client = start()
    begin_training(client, tmp_path / "run", data, steps=LONG)
    note = client.wait_note("progress", lambda note: is_training(note) and note.params["step"] > 10)
    client.close_stdin()
    assert client.ended() == 0
    client.drain()
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert checkpoint.spent.steps >= note.params["step"]
    assert client.answers[2].result["stopped"] is True  # it still says so, for whoever reads on


def test_shutdown_saves_and_ends(start, data, tmp_path):
    client = start()
    begin_training(client, tmp_path / "run", data, steps=LONG)
    note = client.wait_note("progress", is_training)
    assert client.call("shutdown").result == {}
    assert client.ended() == 0
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").spent.steps >= note.params["step"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_save_and_end(start, data, tmp_path, name):
    client = start()
    begin_training(client, tmp_path / "run", data, steps=LONG)
    note = client.wait_note("progress", is_training)
    client.process.send_signal(getattr(signal, name))
    assert client.ended() == 0
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").spent.steps >= note.params["step"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_signal_ends_an_idle_core(start):
    client = start()
    client.process.send_signal(signal.SIGTERM)
    assert client.ended() == 0


def test_a_core_that_hangs_ends_all_the_same(start, data, tmp_path):
    client = start(
        command=patched(
            "import time\n"
            "from nerf_core.methods.classic import ClassicMethod\n"
            "ClassicMethod.warm_up = lambda self, should_stop: time.sleep(600)"
        )
    )
    begin_training(client, tmp_path / "run", data, steps=LONG)
    client.wait_note("progress", lambda note: note.params["task"] == "warm_up")
    client.close_stdin()
    assert client.ended() == 0
    assert "could not in time" in client.log_text()


@pytest.mark.skipif(sys.platform == "win32", reason="there the end of stdin alone tells")
def test_the_core_leaves_when_its_parent_is_gone_though_its_stdin_stays_open():
    read_end, write_end = os.pipe()
    out_read, out_write = os.pipe()
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'nerf_core', 'serve'], stdin={read_end}, stdout={out_write}, "
        "stderr=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[read_end, out_write],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(read_end)
    os.close(out_write)
    try:
        core = int(parent.stdout.readline())
        with open(out_read, "rb") as answers:
            os.write(write_end, encode(request(1, "hello", protocol=PROTOCOL_VERSION, client="test")))
            assert read_message(answers).id == 1
            parent.kill()
            parent.wait()
            deadline = time.monotonic() + 30
            while is_alive(core) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not is_alive(core)
    finally:
        parent.kill()
        os.close(write_end)
        parent.stdin.close()
        parent.stdout.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        status = open(f"/proc/{pid}/stat").read()
        return status.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_kill_loses_no_more_than_since_the_last_checkpoint(start, data, tmp_path):
    often = patched("import nerf_core.training.trainer as t\nt.CHECKPOINT_SECONDS = 0.2")
    client = start(command=often)
    run = tmp_path / "run"
    begin_training(client, run, data, steps=LONG)
    saved = client.wait_note("saved", lambda note: note.params["step"] > 5).params["step"]
    client.process.kill()
    client.process.wait()
    kept = load_checkpoint(run / "checkpoint.safetensors").spent.steps
    assert kept >= saved
    second = start()
    ident = begin_training(second, run, steps=5, more=True)
    assert second.wait(ident).result["step"] == kept + 5
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == kept + 5


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello?\n",
        b"[1, 2]\n",
        b'{"jsonrpc": "1.0", "id": 3, "method": "status"}\n',
        b'{"jsonrpc": "2.0", "id": 3, "method": "status", "params": {}, '
        b'"arrays": [{"name": "x", "dtype": "|O", "shape": [1]}]}\n',
        b"\xff\xfe\x00\n",
        b'{"jsonrpc": "2.0"',
    ],
)
def test_garbage_is_told_and_ends_the_session(start, garbage):
    client = start(greet=False)
    client.process.stdin.write(garbage)
    client.close_stdin()
    assert client.ended() == 2
    client.drain()
    (error,) = client.unnamed
    assert error.error["code"] == PARSE_ERROR and "message" in error.error["message"]


def test_what_was_trained_is_saved_before_garbage_ends_the_session(start, data, tmp_path):
    client = start()
    begin_training(client, tmp_path / "run", data, steps=LONG)
    client.wait_note("progress", is_training)
    client.process.stdin.write(b"hello?\n")  # and stdin stays open
    client.process.stdin.flush()
    assert client.ended() == 2
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").spent.steps > 0
