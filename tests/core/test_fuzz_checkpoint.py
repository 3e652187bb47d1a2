"""The checkpoint reader against ten thousand broken files: a run that holds, or one sentence that names the file."""

import json
import struct
from functools import cache

import numpy as np
import pytest
from hypothesis import strategies as st

from nerf_core.contract.errors import CheckpointError
from nerf_core.data.arrays_file import checksum
from nerf_core.fields.hash_grid import FastSettings
from nerf_core.methods.base import Normalisation
from nerf_core.methods.registry import create
from nerf_core.training.budget import Spent
from nerf_core.training.checkpoint import Checkpoint, Scene, load_checkpoint, save_checkpoint
from nerf_core.training.load import restore_method

from . import tiny_scene
from .fuzzing import EXAMPLES, GUARD, fuzz, mutated_bytes, mutated_documents, rewrite, strange_values

CLASSIC = {"depth": 1, "width": 4, "coarse_samples": 4, "fine_samples": 0, "rays_per_step": 16}
FAST = {
    "backend": "reference",
    "scene": "bounded",
    "levels": 2,
    "features": 8,
    "base_resolution": 2,
    "max_resolution": 3,
    "log2_table_size": 10,
    "occupancy_resolution": 8,
    "ray_steps": 16,
    "density_width": 16,
    "color_width": 16,
}
DTYPES = "BOOL U8 I8 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64 F8_E4M3 F8_E5M2 C64 F4 float32 O V8 U1".split()
SHAPES = ([], [0], [1], [-1], [0, 2**62], [2**31, 2**31], [2**63], [2**64], [1] * 40, [3.5], ["3"], None, [[3]], [1, 2])
LENGTHS = (0, 1, 2**20, 10**8 - 1, 10**8, 10**8 + 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1)
NAMES = ("", "__metadata__ ", "params/../x", "\udc00", "params/table", "a\nb", "x" * 5000)
HEADER_EDITS = ("dtype", "shape", "data_offsets", "drop", "rename", "junk", "cut", "length", "type")
OFFSETS = ([0, 0], [0, 4], [4, 0], [-4, 0], [0, 2**40], [0, 2**63], [0], [], None, [0, 4, 8], ["0", "4"], [0.0, 4.0])


def make(method_name: str, settings: dict) -> Checkpoint:
    method = create(method_name, Normalisation(tiny_scene.BOUNDS), "cpu", 3, settings)
    cameras = [view.camera for view in tiny_scene.views(2, 8).views]
    scene = Scene(tiny_scene.BOUNDS, "srgb", True, (1.0, 1.0, 1.0), cameras)
    return Checkpoint(method_name, method.state(), scene, settings, 3, Spent(12.5, 1), {"nerf_core": "0.1.0"})


class File:
    """A safetensors file in its parts: arrays' bytes, header entries, and the facts inside the metadata."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        (length,) = struct.unpack("<Q", data[:8])
        self.header = json.loads(data[8 : 8 + length])
        self.body = data[8 + length :]
        self.metadata = self.header["__metadata__"]
        self.facts = json.loads(self.metadata["facts"])
        self.regions = ((0, len(data)), (0, 8), (8, 8 + length), (8, 300))

    def with_header(self, header: str, length: int | None = None, body: bytes | None = None) -> bytes:
        """The file with another header, whose length is told truly unless another is given."""
        text = header.encode("utf-8", "surrogatepass")
        told = len(text) if length is None else length
        return struct.pack("<Q", told % 2**64) + text + (self.body if body is None else body)

    def with_facts(self, facts: str) -> bytes:
        """The file with other metadata, as another program might write it."""
        return self.with_header(json.dumps({**self.header, "__metadata__": {**self.metadata, "facts": facts}}))


@cache
def file_of(name: str) -> File:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        save_checkpoint(path, make(name, CLASSIC if name == "classic" else FAST))
        return File(path.read_bytes())


files = st.sampled_from(("classic", "fast")).map(file_of)


@st.composite
def other_entries(draw) -> bytes:
    """The header's entries changed: types, shapes, offsets, names, a length that lies, arrays gone or twice."""
    file = draw(files)
    header = {key: dict(value) for key, value in file.header.items()}
    names = sorted(set(header) - {"__metadata__"})
    body, length = file.body, None
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(names))
        kind = draw(st.sampled_from(HEADER_EDITS))
        if not isinstance(header.get(name), dict) or not isinstance(header[name].get("shape"), list):
            continue  # changed out of all recognition already
        if kind == "dtype":
            header[name]["dtype"] = draw(st.sampled_from(DTYPES))
        elif kind == "type":  # of the right size, so that only the reader's own checks can find it
            header[name].update(dtype=draw(st.sampled_from(("I32", "U32", "F32"))))
        elif kind == "shape":
            other = [1, *header[name]["shape"]]
            header[name]["shape"] = other if draw(st.booleans()) else draw(st.sampled_from(SHAPES))
        elif kind == "data_offsets":
            header[name]["data_offsets"] = draw(st.sampled_from(OFFSETS))
        elif kind == "drop":
            del header[name]
        elif kind == "rename":
            header[draw(st.sampled_from(NAMES))] = header.pop(name)
        elif kind == "junk":
            header[name] = draw(strange_values)
        elif kind == "cut":
            body = body[: draw(st.integers(0, len(body)))]
        elif kind == "length":
            length = draw(st.sampled_from(LENGTHS))
    return file.with_header(json.dumps(header), length, body)


@st.composite
def other_facts(draw) -> bytes:
    file = draw(files)
    facts = {**file.facts, "spent": dict(file.facts["spent"])}
    return file.with_facts(draw(mutated_documents(facts, ("more",))))


@st.composite
def other_settings(draw) -> bytes:
    """Sizes that the arrays do not have, some of them of many gigabytes."""
    file = draw(files)
    facts = json.loads(json.dumps(file.facts))
    stored = facts["method_settings"]
    place = draw(st.sampled_from((stored, stored.get("settings", stored))))
    for key in draw(st.lists(st.sampled_from(sorted(place)), min_size=1, max_size=3)):
        sizes = st.sampled_from((0, 1, 2, 4, 8, 16, 24, 32, 64, 128, 256, 512, 4096, 65536, 1 << 20, -1, 1.5, 2.0**40))
        place[key] = draw(sizes | strange_values)
    return file.with_facts(json.dumps(facts))


@st.composite
def other_arrays(draw) -> bytes:
    """Whole files with checksums that are right, whose arrays hold NaN, other shapes, or too little."""
    from safetensors.numpy import load, save

    file = draw(files)
    arrays = load(file.data)
    name = draw(st.sampled_from(sorted(arrays)))
    kind = draw(st.sampled_from(("nan", "infinity", "huge", "shape", "type", "gone", "more", "empty")))
    array = arrays[name]
    numbers = {"nan": np.nan, "infinity": np.inf, "huge": 3e38}
    if kind in numbers:
        array.reshape(-1)[draw(st.integers(0, array.size - 1))] = numbers[kind]
    elif kind == "shape":
        arrays[name] = array.reshape(draw(st.sampled_from(((-1,), (1, -1), (-1, 1, 1)))))
    elif kind == "type":
        arrays[name] = array.astype(draw(st.sampled_from(("f8", "f2", "i4", "u1", "?"))))
    elif kind == "gone":
        del arrays[name]
    elif kind == "more":
        arrays[draw(st.sampled_from(("params/extra", "x", "params/", "adam/first/é")))] = array
    else:
        arrays[name] = array[:0]
    facts = {**file.facts, "crc32": checksum(arrays)}
    return save(arrays, metadata={**file.metadata, "facts": json.dumps(facts)})


inputs = st.one_of(
    files.flatmap(lambda file: mutated_bytes(file.data, file.regions)),
    other_entries(),
    other_facts(),
    other_facts(),
    other_settings(),
    other_arrays(),
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda header: struct.pack("<Q", len(header)) + header),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "données 球 checkpoint.safetensors"


def test_any_file_is_loaded_or_refused_in_a_sentence(path):
    place = str(path)
    path.touch()

    def read(data: bytes) -> str:
        rewrite(path, data)
        try:
            checkpoint = load_checkpoint(path)
            restore_method(checkpoint, path, "cpu")
        except CheckpointError as error:
            assert place in str(error)
            raise
        assert all(np.isfinite(camera.c2w).all() for camera in checkpoint.scene.cameras)
        return "loaded"

    for name in ("classic", "fast"):
        assert read(file_of(name).data) == "loaded"
    met = fuzz(inputs, read)
    # A fuzzer whose inputs are all refused at the first byte, or all taken, looks at nothing.
    assert min(met["refused"], met["loaded"]) > 0.02 * EXAMPLES


@pytest.mark.parametrize(
    "name, settings",
    [
        ("classic", {"width": 4096, "depth": 32}),
        ("fast", {"log2_table_size": 24, "levels": 32, "max_resolution": 65536}),
        ("fast", {"occupancy_resolution": 512}),
    ],
)
def test_gigabytes_that_a_file_does_not_hold_are_not_made(path, name, settings):
    """20 kB that ask for 2 to 50 GB are refused within the guard's half of one."""
    file = file_of(name)
    facts = json.loads(json.dumps(file.facts))
    facts["method_settings"]["settings"].update(settings)
    path.write_bytes(file.with_facts(json.dumps(facts)))
    checkpoint = load_checkpoint(path)
    with GUARD.limited(), pytest.raises(CheckpointError, match="array"):
        restore_method(checkpoint, path, "cpu")


def test_the_fast_file_is_what_its_settings_say():
    """The small sizes above are allowed: else every input of the fast method would be refused for them."""
    assert FastSettings.from_dict(FAST).sized_for(400).levels == 2
