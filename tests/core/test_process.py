"""The add-on's `CoreProcess` with real processes: answers, floods, deaths, and how it ends."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from nerf_core.contract.messages import PROTOCOL_VERSION

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("process_server.py")
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The staged add-on as a package whose top module, which needs bpy, is not run."""
    sys.path.insert(0, str(ROOT / "tools"))
    from build_extension import stage

    folder = stage(tmp_path_factory.mktemp("staged") / "addon")
    package = types.ModuleType("staged_addon")
    package.__path__ = [str(folder)]
    sys.modules["staged_addon"] = package
    yield types.SimpleNamespace(
        process=importlib.import_module("staged_addon.jobs.process"),
        child=importlib.import_module("staged_addon.jobs.child"),
        calls=importlib.import_module("staged_addon.jobs.calls"),
        direct=importlib.import_module("staged_addon.jobs.direct"),
        inbox=importlib.import_module("staged_addon.jobs.inbox"),
        messages=importlib.import_module("staged_addon.vendor.nerf_core.contract.messages"),
        folder=folder,
    )
    for name in [name for name in sys.modules if name.startswith("staged_addon")]:
        del sys.modules[name]


@pytest.fixture
def start(jobs, tmp_path):
    started = []

    def start(manner="serve", command=None, **callbacks):
        process = jobs.process.CoreProcess(
            command or [sys.executable, str(SERVER), manner],
            jobs.child.core_environment(jobs.folder / "vendor"),
            tmp_path / "core.log",
            **callbacks,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if not process.wait(0):
            os.kill(process.pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
            process.wait(10)


def drain_until(process, condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"nothing happened; end: {process.end_sentence}"
        process.drain()
        time.sleep(0.002)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_says_hello_and_answers_with_arrays(start):
    ready, results = [], []
    process = start(on_ready=ready.append)
    assert not process.ready
    process.request("double", {"value": 21, "count": 300_000}, on_result=lambda *got: results.append(got))
    drain_until(process, lambda: results)
    assert process.ready and ready == [process.hello]
    assert process.hello["safe"] is True  # the current folder is not on the core's path
    result, arrays = results[0]
    assert result == {"value": 42}
    np.testing.assert_array_equal(arrays["array"], np.arange(300_000, dtype=np.float32))


def test_requests_larger_than_the_pipe_return_at_once_while_the_core_sleeps(start):
    process = start()
    sleeping = process.request("sleep", {"seconds": 0.5})
    calls = [process.request("double", {"value": i, "count": 1, "ballast": "x" * 1_000_000}) for i in range(8)]
    assert not sleeping.done  # eight megabytes were handed over before the core read any of them
    drain_until(process, lambda: calls[-1].done)
    assert [call.result["value"] for call in calls] == [2 * i for i in range(8)]


def test_errors_are_told_apart(start, jobs):
    process = start()
    failures = []
    process.request("user_error", on_error=failures.append)
    process.request("bug", on_error=failures.append)
    drain_until(process, lambda: len(failures) == 2)
    assert str(failures[0]) == "There is no such run." and failures[0].code == jobs.messages.USER_ERROR
    assert "'bug'" in str(failures[1]) and "core.log" in str(failures[1]) and failures[1].data == "Traceback ..."
    assert process.alive


def test_progress_reaches_the_request_it_belongs_to(start):
    process = start()
    mine, others = [], []
    process.request("train", {"run": "b", "steps": 0}, on_progress=others.append)
    call = process.request("train", {"run": "a", "steps": 5}, on_progress=mine.append)
    drain_until(process, lambda: call.done)
    assert mine[-1]["step"] == 4 and others == []


def test_a_tick_handles_few_messages(start):
    process = start()
    calls = [process.request("double", {"value": 1, "count": 1}) for _ in range(200)]
    drain_until(process, lambda: process.ready)
    until = time.monotonic() + 30
    while len(process._inbox) < 150 and time.monotonic() < until:
        time.sleep(0.01)
    assert process.drain(seconds=60.0, limit=16) == 16
    assert process.drain(seconds=0.0) == 1  # with no time at all it still gets on
    drain_until(process, lambda: calls[-1].done)


def test_stale_progress_and_previews_are_replaced(jobs):
    inbox, make = jobs.inbox.Inbox(), jobs.messages.notification
    for step in range(50):
        inbox.put(make("progress", task="train", run="a", step=step))
        inbox.put(make("preview", run="a", step=step))
        inbox.put(make("log", text=str(step)))
    taken = [inbox.take() for _ in range(len(inbox))]
    assert len(taken) == 52 and inbox.take() is None
    assert [m.params["step"] for m in taken if m.method != "log"] == [49, 49]
    assert [m.params["text"] for m in taken if m.method == "log"] == [str(i) for i in range(50)]


@posix
def test_kill_fails_every_request_with_one_sentence(start):
    ends, failures = [], []
    process = start(on_end=ends.append)
    drain_until(process, lambda: process.ready)
    for _ in range(3):
        process.request("sleep", {"seconds": 60}, on_error=failures.append)
    os.kill(process.pid, signal.SIGKILL)
    drain_until(process, lambda: ends)
    assert ends == ["The NeRF core was killed by the system; it may have run out of memory."]
    assert [str(failure) for failure in failures] == ends * 3 and all(failure.died for failure in failures)
    with pytest.raises(Exception, match="killed by the system"):
        process.request("double", {"value": 1, "count": 1})


def test_an_exit_code_and_the_last_words_are_told(start):
    ends = []
    process = start(on_end=ends.append)
    process.request("die", {"code": 7})
    drain_until(process, lambda: ends)
    assert ends == ["The NeRF core ended unexpectedly (exit code 7). Its last words: a last word"]


@posix
def test_a_crash_names_its_signal(start):
    process = start()
    drain_until(process, lambda: process.ready)
    os.kill(process.pid, signal.SIGSEGV)
    drain_until(process, lambda: process.end_sentence)
    assert "crashed (SIGSEGV)" in process.end_sentence and "core.log" in process.end_sentence


def test_what_is_more_than_a_message_is_no_call(start, jobs, monkeypatch):
    process = start()
    drain_until(process, lambda: process.ready)
    monkeypatch.setattr(jobs.messages, "MAX_LINE", 1000)
    for ask in (process.request, lambda method, params: process.request_direct(method, params, print)):
        with pytest.raises(jobs.messages.ProtocolError, match="ask for less"):
            ask("double", {"value": "x" * 2000, "count": 1})
    assert not process.busy
    call = process.request("double", {"value": 4, "count": 1})
    drain_until(process, lambda: call.done)
    assert call.error is None


@pytest.mark.parametrize(
    ("manner", "expected"),
    [
        ("crash", r"did not start .*exit code 1.* No module named 'torch'"),
        ("babble", "does not answer as a NeRF core"),
        ("future", f"speaks protocol 99, this add-on speaks {PROTOCOL_VERSION}; set the core up again"),
    ],
)
def test_what_is_no_core_is_refused_and_ended(start, manner, expected):
    process = start(manner)
    call = process.request("double", {"value": 1, "count": 1})
    drain_until(process, lambda: process.end_sentence)
    assert re.search(expected, process.end_sentence)
    assert call.done and str(call.error) == process.end_sentence
    assert process.wait(15)


@pytest.mark.parametrize("missing", ["nowhere/python", "."])
def test_a_missing_interpreter_is_one_sentence(start, jobs, tmp_path, missing):
    with pytest.raises(jobs.calls.CoreError, match=r"Cannot start the NeRF core with .*preferences"):
        start(command=[str(tmp_path / missing), "-m", "nerf_core", "serve"])


def test_stop_lets_it_leave_by_itself(start):
    ends = []
    process = start(on_end=ends.append)
    call = process.request("double", {"value": 1, "count": 1})
    drain_until(process, lambda: call.done)
    process.stop()
    assert not process.alive
    assert process.wait(15) and process.exit_code == 0
    drain_until(process, lambda: process.end_sentence)
    assert ends == []  # nobody is told of what was asked for


def test_who_waits_for_a_core_that_never_speaks_is_told(start, jobs, monkeypatch):
    process = start("mute")
    monkeypatch.setattr(jobs.direct, "HELLO_SECONDS", 0.3)
    with pytest.raises(jobs.calls.CoreError, match=r"did not answer within 0 seconds; its log is '.*core\.log'"):
        jobs.direct.ask(process, "render", {}, "tag", lambda: False)
    # One that has spoken may take its time.
    slow = start()
    drain_until(slow, lambda: slow.ready)
    assert jobs.direct.ask(slow, "sleep", {"seconds": 1.0}, "tag", lambda: False) == ({}, {})


@posix
def test_a_stubborn_core_is_ended(start, jobs, monkeypatch):
    monkeypatch.setattr(jobs.process, "SHUTDOWN_SECONDS", 0.3)
    process = start("stubborn")
    drain_until(process, lambda: process.ready)
    process.stop()
    assert process.wait(15) and process.exit_code == -signal.SIGTERM
    assert gone(process.pid)


def test_requests_of_a_stopped_core_are_cancelled_not_failed(start):
    process = start()
    drain_until(process, lambda: process.ready)
    failures = []
    process.request("sleep", {"seconds": 0.3}, on_error=failures.append)
    process.request("bug", on_error=lambda error: None)
    late = process.request("sleep", {"seconds": 60}, on_error=failures.append)
    process.stop()
    os.kill(process.pid, signal.SIGTERM)
    drain_until(process, lambda: late.done)
    assert failures[-1].cancelled


@posix
def test_the_end_of_the_parent_takes_the_core_along(jobs, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, types, time\n"
        f"package = types.ModuleType('staged'); package.__path__ = [{str(jobs.folder)!r}]\n"
        "sys.modules['staged'] = package\n"
        "from staged.jobs import process, child\n"
        "from pathlib import Path\n"
        f"core = process.CoreProcess([sys.executable, {str(SERVER)!r}], "
        f"child.core_environment(Path({str(jobs.folder / 'vendor')!r})), Path({str(tmp_path / 'log')!r}))\n"
        "while not core.ready: core.drain(); time.sleep(0.01)\n"
        "print(core.pid, flush=True)\n"
        "if sys.argv[1] == 'hang': time.sleep(60)\n"
    )
    for manner in ("exit", "hang"):
        with subprocess.Popen([sys.executable, str(script), manner], stdout=subprocess.PIPE, text=True) as parent:
            pid = int(parent.stdout.readline())
            if manner == "hang":
                parent.kill()
            parent.wait(20)
        until = time.monotonic() + 10
        while not gone(pid) and time.monotonic() < until:
            time.sleep(0.02)
        assert gone(pid), manner
