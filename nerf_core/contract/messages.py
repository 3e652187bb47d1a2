"""JSON-RPC 2.0 over two pipes: one message a line of UTF-8 JSON, its arrays behind it as raw little-endian bytes.

A message that carries arrays names them, in order, under the top-level key ``"arrays"``:
``[{"name": "rgba", "dtype": "<f4", "shape": [540, 960, 4]}, ...]``; the bytes follow the newline without padding.
No port, no temporary file, no pickle: only the dtypes in `DTYPES` are accepted.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from .errors import ProtocolError

PROTOCOL_VERSION = 3  # 2: before CTs and radiographs could be asked for
DTYPES = ("<f4", "<f8", "<f2", "|u1", "<u2", "<u4", "<i4", "<i8", "|b1")
MAX_LINE = 64 * 1024 * 1024
MAX_ARRAY_BYTES = 2 * 1024**3
MAX_ARRAYS = 16384  # two for each mesh of a scene
MAX_DIMENSIONS = 8
MAX_LAYERS = 16  # of a picture, and crops of a layer

# JSON-RPC's own codes, and ours from -32000 down.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
USER_ERROR = -32000  # a NerfError: show the sentence as it is
CANCELLED = -32001  # the request was cancelled or replaced by a newer one


@dataclass
class Message:
    """One JSON-RPC message: a request (`method` and `id`), a notification (`method` alone) or a response (`id` alone).

    Attributes
    ----------
    method : str or None
    id : int or None
    params : dict
        Of a request or notification.
    result : Any
        Of a successful response.
    error : dict or None
        Of a failed response: ``{"code": int, "message": str, "data": ...}``.
    arrays : dict of str to numpy array
        What travels as raw bytes behind the line.
    """

    method: str | None = None
    id: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    error: dict[str, Any] | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_request(self) -> bool:
        """A call that wants an answer."""
        return self.method is not None and self.id is not None

    @property
    def is_notification(self) -> bool:
        """A call that wants none."""
        return self.method is not None and self.id is None

    @property
    def is_response(self) -> bool:
        """An answer."""
        return self.method is None


def encode(message: Message) -> bytes:
    """The bytes of one message, line and arrays.

    Raises
    ------
    ProtocolError
        When it is more than :func:`read_message` takes, or holds an array of a kind that is not carried. The stream
        is as it was.
    """
    body: dict[str, Any] = {"jsonrpc": "2.0"}
    if message.id is not None:
        body["id"] = message.id
    if message.method is not None:
        body["method"] = message.method
        body["params"] = message.params
    elif message.error is not None:
        body["error"] = message.error
    else:
        body["result"] = message.result
    chunks = []
    check_arrays(message.arrays)
    if message.arrays:
        described = []
        for name, array in message.arrays.items():
            array = np.asarray(array)
            dtype = array.dtype.newbyteorder("<").str
            if dtype not in DTYPES:
                raise ProtocolError(f"array '{name}' has dtype {array.dtype}, which the protocol does not carry")
            described.append({"name": name, "dtype": dtype, "shape": list(array.shape)})
            chunks.append(array.astype(dtype, copy=False).tobytes())
        body["arrays"] = described
    line = json.dumps(_plain(body), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A path may hold bytes that are no text (lone surrogates in Python); json.loads takes them back the same way.
    text = line.encode("utf-8", "surrogatepass") + b"\n"
    if len(text) > MAX_LINE:
        raise ProtocolError(_too_much(len(text), MAX_LINE))
    return b"".join([text, *chunks])


def check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that are more than a message holds.

    Raises
    ------
    ProtocolError
        With what to do.
    """
    size = sum(np.asarray(array).nbytes for array in arrays.values())
    if size > MAX_ARRAY_BYTES:
        raise ProtocolError(_too_much(size, MAX_ARRAY_BYTES))
    if len(arrays) > MAX_ARRAYS:
        raise ProtocolError(f"That is too much to be sent at once: {len(arrays)} arrays, and {MAX_ARRAYS} are the most")


def _too_much(size: int, most: int) -> str:
    return (
        f"That is too much to be sent between Blender and the core at once: {size / 1e6:,.0f} MB, and "
        f"{most / 1e6:,.0f} MB are the most; ask for less."
    )


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write one message and flush. The caller holds a lock when several threads write."""
    stream.write(encode(message))
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Read one message; None at a clean end of the stream.

    Raises
    ------
    ProtocolError
        When the line is not a JSON-RPC message, an array is not described as it must be, or the stream ends
        inside a message. The stream cannot be used further.
    """
    line = stream.readline(MAX_LINE + 1)
    if not line:
        return None
    if len(line) > MAX_LINE or not line.endswith(b"\n"):
        raise ProtocolError("a message line is too long or cut off")
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as reason:
        raise ProtocolError(f"a message line is not JSON: {line[:80]!r}") from reason
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        raise ProtocolError(f"a message line is not JSON-RPC 2.0: {line[:80]!r}")
    arrays = {name: _read_array(stream, name, dtype, shape) for name, dtype, shape in _described(body)}
    method, ident, params, error = body.get("method"), body.get("id"), body.get("params", {}), body.get("error")
    if method is not None and not isinstance(method, str):
        raise ProtocolError("a message's method is not a string")
    if ident is not None and (isinstance(ident, bool) or not isinstance(ident, int)):
        raise ProtocolError("a message's id is not an integer")
    if not isinstance(params, dict) or not (error is None or isinstance(error, dict)):
        raise ProtocolError("a message's params or error is not an object")
    if method is None and error is None and "result" not in body:
        raise ProtocolError("a message is neither call nor answer")
    return Message(method=method, id=ident, params=params, result=body.get("result"), error=error, arrays=arrays)


def request(ident: int, method: str, /, **params: Any) -> Message:
    """A call that wants an answer."""
    return Message(method=method, id=ident, params=params)


def notification(method: str, /, arrays: Mapping[str, np.ndarray] | None = None, **params: Any) -> Message:
    """A call that wants none."""
    return Message(method=method, params=params, arrays=dict(arrays or {}))


def response(ident: int | None, result: Any, arrays: Mapping[str, np.ndarray] | None = None) -> Message:
    """A successful answer."""
    return Message(id=ident, result=result, arrays=dict(arrays or {}))


def failure(ident: int | None, code: int, message: str, data: Any = None) -> Message:
    """A failed answer."""
    return Message(id=ident, error={"code": code, "message": message, **({} if data is None else {"data": data})})


def _described(body: dict[str, Any]) -> list[tuple[str, str, list[int]]]:
    described = body.get("arrays", [])
    if not isinstance(described, list) or len(described) > MAX_ARRAYS:
        raise ProtocolError("a message's arrays are not a short list")
    found = []
    total = 0
    for item in described:
        name, dtype, shape = (
            (item.get(k) for k in ("name", "dtype", "shape")) if isinstance(item, dict) else (None,) * 3
        )
        if not isinstance(name, str) or dtype not in DTYPES or not isinstance(shape, list):
            raise ProtocolError(f"a message describes an array as {str(item)[:200]}")
        if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and 0 <= n <= MAX_ARRAY_BYTES for n in shape):
            raise ProtocolError(f"array '{name[:80]}' has the shape {str(shape)[:80]}")
        total += math.prod(shape) * np.dtype(dtype).itemsize
        if total > MAX_ARRAY_BYTES:
            raise ProtocolError(f"array '{name}' is larger than a message may be")
        found.append((name, dtype, shape))
    return found


def _read_array(stream: BinaryIO, name: str, dtype: str, shape: list[int]) -> np.ndarray:
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    # Straight into memory of our own: the array may be kept and written to.
    buffer = bytearray(wanted)
    view = memoryview(buffer)
    filled = 0
    while filled < wanted:
        chunk = stream.read(min(wanted - filled, 1 << 22))
        if not chunk:
            raise ProtocolError(f"the stream ended inside array '{name}'")
        view[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    array = np.frombuffer(buffer, dtype=dtype).reshape(shape)
    if dtype == "|b1" and array.view(np.uint8).max(initial=0) > 1:
        raise ProtocolError(f"array '{name}' is not made of truth values")
    return array


def _plain(value: Any) -> Any:
    """JSON knows no NaN, infinity or numpy scalar: None and plain numbers go in their place."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
