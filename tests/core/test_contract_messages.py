"""Message framing: what is written is read back, and nothing that arrives does anything but raise `ProtocolError`."""

import io
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nerf_core.contract.errors import ProtocolError
from nerf_core.contract.messages import (
    DTYPES,
    MAX_ARRAYS,
    check_arrays,
    encode,
    failure,
    notification,
    read_message,
    request,
    response,
    write_message,
)


def read(data):
    return read_message(io.BytesIO(data))


def test_a_conversation_is_read_back():
    stream = io.BytesIO()
    rgba = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    write_message(stream, request(7, "render", run="/tmp/Ωµ run", camera={"w": 4}))
    write_message(stream, response(7, {"seconds": 0.5}, {"rgba": rgba, "hit": rgba[..., 3] > 0.5}))
    write_message(stream, notification("progress", done=np.float32(0.5), left=float("nan")))
    write_message(stream, failure(8, -32000, "no such run"))
    stream.seek(0)
    asked, answered, told, failed = (read_message(stream) for _ in range(4))
    assert asked.is_request and asked.params == {"run": "/tmp/Ωµ run", "camera": {"w": 4}}
    assert answered.is_response and answered.result == {"seconds": 0.5}
    np.testing.assert_array_equal(answered.arrays["rgba"], rgba)
    assert answered.arrays["hit"].dtype == bool and answered.arrays["rgba"].flags.writeable
    assert told.is_notification and told.params == {"done": 0.5, "left": None}
    assert failed.error == {"code": -32000, "message": "no such run"}
    assert read_message(stream) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_odd_shapes(dtype):
    for shape in ((), (0,), (2, 0, 3), (1, 2, 1, 2)):
        array = np.ones(shape, dtype)
        back = read(encode(notification("a", {"x": array}))).arrays["x"]
        np.testing.assert_array_equal(back, array)
        assert back.shape == shape and back.dtype == array.dtype


def test_big_endian_and_strided_arrays_arrive_right():
    array = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    assert read(encode(notification("a", {"x": array}))).arrays["x"].tolist() == array.tolist()


def test_a_path_that_is_no_text_survives():
    name = b"/tmp/\xff\xfe".decode("utf-8", "surrogateescape")
    assert read(encode(request(1, "status", run=name))).params["run"] == name


def test_what_no_reader_takes_is_not_written(monkeypatch):
    stream = io.BytesIO()
    monkeypatch.setattr("nerf_core.contract.messages.MAX_LINE", 200)
    monkeypatch.setattr("nerf_core.contract.messages.MAX_ARRAY_BYTES", 100)
    half = np.zeros(12, "<f4")
    for message in (request(1, "video", frames=["x" * 200]), response(1, {}, {"a": half, "b": half, "c": half})):
        with pytest.raises(ProtocolError, match="too much to be sent.*ask for less"):
            write_message(stream, message)
    assert stream.getvalue() == b""
    write_message(stream, response(1, {}, {"a": half, "b": half}))
    assert len(read(stream.getvalue()).arrays) == 2


def test_objects_are_not_carried():
    with pytest.raises(ProtocolError, match="dtype object"):
        encode(notification("a", {"x": np.array([{}])}))


def line(**body):
    return json.dumps({"jsonrpc": "2.0", "method": "m", **body}).encode() + b"\n"


def described(**item):
    return line(arrays=[{"name": "x", "dtype": "<f4", "shape": [1], **item}]) + b"\0\0\0\0"


BROKEN = {
    "cut line": b'{"jsonrpc": "2.0", "method": "m"}',
    "no JSON": b"hello\n",
    "not an object": b"[]\n",
    "old": b'{"method": "m"}\n',
    "deep": b"[" * 200_000 + b"\n",
    "bytes": b"\xff\xfe\x00\n",
    "neither": b'{"jsonrpc": "2.0"}\n',
    "method": line(method=4),
    "id": line(id="seven"),
    "params": line(params=[1]),
    "array dtype": described(dtype="|O"),
    "array dtype list": described(dtype=["<f4"]),
    "array name": described(name=None),
    "array shape": described(shape=-1),
    "negative": described(shape=[-1]),
    "bool size": described(shape=[True]),
    "huge": described(shape=[2**40]),
    "empty but huge": described(shape=[0, 2**70]),
    "many dimensions": described(shape=[1] * 70),
    "cut array": described(shape=[2]),
    "no truth": described(dtype="|b1", shape=[4]).removesuffix(b"\0" * 4) + b"\0\1\2\3",
    "array count": line(arrays=[{"name": "x", "dtype": "<f4", "shape": [0]}] * (MAX_ARRAYS + 1)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_messages(name):
    with pytest.raises(ProtocolError):
        read(BROKEN[name])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
arrays = st.lists(
    st.fixed_dictionaries(
        {"name": st.text(max_size=4), "dtype": st.sampled_from(DTYPES) | anything},
        optional={"shape": st.lists(st.integers(-2, 5), max_size=5) | anything},
    ),
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={"id": anything, "method": anything, "params": anything, "result": anything, "arrays": arrays | anything},
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.tuples(bodies.map(json.dumps), st.binary(max_size=60)))
@example(b"\n")
def test_anything_is_read_or_refused(data):
    if isinstance(data, tuple):
        data = data[0].encode("utf-8", "surrogatepass") + b"\n" + data[1]
    try:
        read(data)
    except ProtocolError as error:
        assert str(error)


def test_arrays_are_checked_before_they_are_copied(monkeypatch):
    check_arrays({"a": np.zeros(4, np.float32)})
    with pytest.raises(ProtocolError, match="arrays, and"):
        check_arrays(dict.fromkeys(map(str, range(MAX_ARRAYS + 1)), np.zeros(0, np.float32)))
    monkeypatch.setattr("nerf_core.contract.messages.MAX_ARRAY_BYTES", 10)
    with pytest.raises(ProtocolError, match="too much to be sent"):
        check_arrays({"a": np.zeros(4, np.float32)})
