"""The transforms reader against ten thousand broken documents: a data set that holds, or one sentence."""

import json

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from nerf_core.contract.camera import look_at
from nerf_core.contract.transforms import is_box
from nerf_core.data.dataset import load_dataset
from nerf_core.data.transforms import read_transforms

from .fuzzing import EXAMPLES, fuzz, mutated_bytes, mutated_documents, rewrite

POSE = look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.5)).tolist()
OTHER = look_at((-3.0, 1.0, 1.0), (0.0, 0.2, 0.5)).tolist()
SIZE = 6

INSTANT_NGP = {
    "camera_angle_x": 0.7,
    "fl_x": 9.0,
    "fl_y": 9.5,
    "cx": 3.0,
    "cy": 3.0,
    "w": SIZE,
    "h": SIZE,
    "k1": 0.01,
    "k2": -0.001,
    "p1": 0.0,
    "p2": 0.001,
    "aabb_scale": 4,
    "scale": 0.33,
    "offset": [0.5, 0.5, 0.5],
    "frames": [
        {"file_path": "0.png", "sharpness": 30.0, "transform_matrix": POSE},
        {"file_path": "./1.png", "transform_matrix": OTHER},
    ],
}
OURS = {
    "camera_model": "OPENCV",
    "fl_x": 9.0,
    "fl_y": 9.0,
    "cx": 3.0,
    "cy": 3.0,
    "w": SIZE,
    "h": SIZE,
    "nerf_toolkit": {"color_space": "srgb", "has_alpha": True, "bounds": [[-1, -1, -1], [1.0, 1.0, 1.0]]},
    "train_filenames": ["0.png", "1.png"],
    "val_filenames": ["2.png"],
    "frames": [{"file_path": f"{i}.png", "transform_matrix": (POSE, OTHER)[i % 2]} for i in range(3)],
}
SYNTHETIC = {
    "camera_angle_x": 0.69,
    "frames": [{"file_path": f"./{i}", "rotation": 0.012, "transform_matrix": POSE} for i in range(9)],
}
RADIOGRAPHS = {
    **OURS,
    "nerf_toolkit": {
        "color_space": "srgb",
        "bounds": [[-1, -1, -1], [1.0, 1.0, 1.0]],
        "xray": {
            "quantity": "line_integral",
            "window": [0.0, 4.0],
            "source_axis": 0.5,
            "source_detector": 0.9,
            "detector": [0.5, 0.5],
            "meters_per_unit": 1.0,
            "volume": "volume.nii.gz",
            "noise": {"photons": 1e4},
            "scaling": "physical",
        },
    },
}
DOCUMENTS = (INSTANT_NGP, OURS, SYNTHETIC, RADIOGRAPHS)
KEYS = ("k3", "k4", "kind", "x_fov", "camera_angle_y", "camera_model", "is_fisheye", "test_filenames", "aabb_scale")


def encoded(text_and_encoding: tuple[str, str]) -> bytes:
    text, encoding = text_and_encoding
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


bytes_of = [json.dumps(document, indent=1).encode() for document in DOCUMENTS]
texts = st.sampled_from(DOCUMENTS).flatmap(lambda document: mutated_documents(document, KEYS))
ENCODINGS = ("utf-8",) * 6 + ("utf-8-sig", "utf-16", "latin-1")
inputs = st.one_of(
    *(st.tuples(texts, st.sampled_from(ENCODINGS)).map(encoded) for _ in range(6)),
    st.sampled_from(bytes_of).flatmap(lambda data: mutated_bytes(data, ((0, len(data)), (0, 200)))),
    st.binary(max_size=60),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz") / "données 球"
    made.mkdir()
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[2:4, 2:4] = 255
    for index in range(9):
        Image.fromarray(pixels).save(made / f"{index}.png")
    return made


def check_cameras(found) -> int:
    """Every camera that is given out is one that rays can be made with; gives their number."""
    count = 0
    for specs in found.frames.values():
        for spec in specs:
            spec.size()
            camera = spec.camera(SIZE, SIZE)
            count += 1
            numbers = [camera.fl_x, camera.fl_y, camera.cx, camera.cy, *camera.c2w.ravel()]
            assert np.isfinite(numbers).all() and camera.fl_x > 0 and camera.fl_y > 0
            axes = camera.c2w[:3, :3]
            assert np.abs(axes @ axes.T - np.eye(3)).max() < 1e-5 and np.linalg.det(axes) > 0
            assert np.isfinite([getattr(camera.distortion, key) for key in ("k1", "k2", "k3", "p1", "p2")]).all()
    for box in (found.bounds, found.aabb, found.unit_cube):
        assert box is None or is_box(box)
    assert found.aabb_scale is None or found.aabb_scale in (1, 2, 4, 8, 16, 32, 64, 128)
    return count


def test_any_document_is_read_or_refused_in_a_sentence(folder):
    place = folder / "transforms.json"
    place.touch()

    def read(data: bytes) -> str:
        rewrite(place, data)
        return "read" if check_cameras(read_transforms(folder)) else "no frame"

    for data in bytes_of:
        assert read(data) == "read"
    met = fuzz(inputs, read)
    # A fuzzer whose inputs are all refused at the first character, or all taken, looks at nothing.
    assert min(met["refused"], met["read"]) > 0.05 * EXAMPLES


def test_a_split_family_is_read_or_refused_in_a_sentence(folder):
    place = folder / "transforms_train.json"
    place.touch()
    (folder / "transforms_val.json").write_bytes(bytes_of[2])

    def read(data: bytes) -> str:
        rewrite(place, data)
        return "read" if check_cameras(read_transforms(folder)) else "no frame"

    try:
        assert read(bytes_of[2]) == "read"
        fuzz(mutated_documents(SYNTHETIC, KEYS).map(lambda text: text.encode("utf-8", "replace")), read, EXAMPLES // 20)
    finally:
        place.unlink()
        (folder / "transforms_val.json").unlink()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_is_read_can_be_loaded_or_is_refused(folder):
    """Pixels, sizes and bounds too: whatever numbers a document gives, nothing overflows on the way to a data set."""
    place = folder / "transforms.json"
    place.touch()

    def read(text: str) -> str:
        rewrite(place, text.encode("utf-8", "replace"))
        dataset = load_dataset(folder)
        assert is_box(dataset.bounds)
        for views in dataset.splits.values():
            for view in views.views:
                origins, directions = view.camera.rays()
                assert np.isfinite(origins).all() and np.isfinite(directions).all()
        return "read"

    assert read(json.dumps(INSTANT_NGP)) == "read"
    met = fuzz(texts, read, EXAMPLES // 40)
    assert met["read"] > 0
