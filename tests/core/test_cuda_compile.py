"""Every CUDA kernel compiles for every architecture, without a GPU, and needs no more of one than it may."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from nerf_core.kernels.cuda import ahead, driver, images, launch
from nerf_core.kernels.cuda.ahead import ARCHITECTURES, read_report
from nerf_core.kernels.cuda.catalogue import CEILINGS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import build_extension  # noqa: E402
import build_kernels  # noqa: E402

# Triton's interpreter, which the other tests run in, cannot be left again: hence a process of its own.
BUILD = """
import dataclasses, json, sys
from nerf_core.kernels.cuda import ahead, catalogue
built = ahead.build(catalogue.record(), processes=2)
json.dump(
    [
        {
            "name": each.variant.name,
            "key": each.variant.key,
            "usage": {str(sm): dataclasses.asdict(usage) for sm, usage in each.usage.items()},
            "ptx": {str(target): image.ptx for target, image in each.images.items()},
            "extra": [image.extra for image in each.images.values()],
        }
        for each in built
    ],
    sys.stdout,
)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    variables.update(PYTHONPATH=str(ROOT), TRITON_CACHE_DIR=str(tmp_path_factory.mktemp("triton")))
    answer = subprocess.run([sys.executable, "-c", BUILD], env=variables, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout)


def test_every_kernel_compiles_within_its_ceilings(built):
    over = []
    for each in built:
        assert sorted(map(int, each["usage"])) == sorted(ARCHITECTURES)
        ceiling = CEILINGS[each["name"]]
        for architecture, usage in each["usage"].items():
            assert usage["registers"] > 0  # the report was understood
            what = f"{each['name']} on sm_{architecture}: {usage}"
            print(what)
            if usage["spill_stores"] or usage["spill_loads"] or usage["stack"]:
                over.append("spills: " + what)
            if usage["registers"] > ceiling.registers or usage["shared"] > ceiling.shared:
                over.append(f"over {ceiling}: {what}")
    assert not over, "\n".join(over)


def test_the_catalogue_is_complete(built):
    assert {each["name"] for each in built} == set(CEILINGS)
    assert len({each["key"] for each in built}) == len(built)
    for scene in ("True", "False"):
        kinds = {each["name"] for each in built if f"UNBOUNDED={scene}" in each["key"]}
        assert {"count_samples", "encode_samples", "composite", "encode_backward", "merge_density_kernel"} <= kinds


def test_what_ships_names_no_file_of_this_machine(built):
    for each in built:
        for ptx in each["ptx"].values():
            assert str(ROOT) not in ptx and ".loc" not in ptx and ".py" not in ptx
        # Triton's two pointers of its own, which the launcher sets to null.
        assert each["extra"] == [2, 2]


def test_matrix_products_are_on_tensor_cores(built):
    for name in ("field_forward", "colour_backward", "density_backward"):
        for each in (each for each in built if each["name"] == name):
            assert "mma.sync" in each["ptx"]["80"] and "mma" in each["ptx"]["90"], name


def test_what_is_compiled_ahead_is_found_for_its_gpus(tmp_path, monkeypatch):
    image = images.Image("k", "// ptx", 64, 4, 2)
    built = [ahead.Built(launch.Variant("k", (("x", "*fp32"),), (), 4, 3), {80: image, 90: image}, {})]
    key = built[0].variant.key
    monkeypatch.setattr(images, "FOLDER", tmp_path / "ahead")
    images._read.cache_clear()
    assert not images.available((8, 6)) and images.find(key, (8, 6)) is None
    for target in images.TARGETS:
        build_kernels.write(built, target, images.FOLDER)
    images._read.cache_clear()
    for capability in ((8, 0), (8, 9), (9, 0), (10, 0), (12, 0)):
        assert images.available(capability) and images.find(key, capability) == image
        assert images.find("another", capability) is None
    assert not images.available((7, 5)) and images.find(key, (7, 5)) is None
    # Those of other sources are left alone, and do not ship.
    for changed in ("kernels/cuda/march.py", "fields/contraction.py"):
        core = tmp_path / changed.replace("/", " ")
        shutil.copytree(ROOT / "nerf_core", core, ignore=shutil.ignore_patterns("__pycache__", "ahead"))
        folder = core / "kernels/cuda/ahead"
        shutil.copytree(images.FOLDER, folder)
        assert build_extension.kernels_belong(folder)
        with (core / changed).open("a") as file:
            file.write("# another line\n")
        assert not build_extension.kernels_belong(folder)
    monkeypatch.setattr(images, "fingerprint", lambda folder=None: "another")
    images._read.cache_clear()
    assert not images.available((8, 6))
    (images.FOLDER / "sm_80.json").write_text("{")
    images._read.cache_clear()
    assert not images.available((8, 6))
    images._read.cache_clear()


def test_a_launch_is_described_by_what_it_is_given():
    code = (
        "import torch; from nerf_core.kernels.cuda import launch, optimiser as o; t = torch.zeros(32);"
        "h, i = t.half(), t.int();\n"
        "with launch.recording() as found: o.launch_adam(t, t, t, h, h, i, t, 128.0, 0.9, 0.99, 1e-15)\n"
        "print(*(v.key for v in found))\n"
        "try: o.launch_adam(t, t, t, h, h, i, t, 128.0, 0.9, 0.99, 1e-15)\n"
        "except RuntimeError as error: print(error)\n"
    )
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    answer = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, cwd=ROOT)
    key, error = answer.stdout.splitlines()
    assert key == (
        "adam(parameters:*fp32,first_moment:*fp32,second_moment:*fp32,gradient:*fp16,computing:*fp16,state_i:*i32,"
        "state_f:*fp32,lines:i32,loss_scale:fp32,beta1:fp32,beta2:fp32,epsilon:fp32,LINES:constexpr)[LINES=64]w4s3"
    )
    assert error == "the kernel 'adam' was given tensors of the device 'cpu'"


class PretendedDriver:
    """What `driver.py` calls of libcuda; keeps what it is given."""

    def __init__(self):
        self.launches, self.attributes, self.images = [], [], []

    def cuCtxGetCurrent(self, context):  # noqa: N802
        return 0

    def cuModuleLoadDataEx(self, module, image, count, options, values):  # noqa: N802
        assert count == 2 and list(options) == [5, 6] and values[1] == 4096
        self.images.append(image)
        if b"wrong" in image:
            ctypes.memmove(values[0], b"line 1: syntax error\0", 21)
            return 218
        return 0

    def cuModuleGetFunction(self, function, module, name):  # noqa: N802
        return 0

    def cuFuncSetAttribute(self, function, attribute, value):  # noqa: N802
        self.attributes.append((attribute, value))
        return 0

    def cuLaunchKernel(self, function, *rest):  # noqa: N802
        *sizes, stream, pointers, extra = rest
        kinds = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_float, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
        values = [ctypes.cast(p, ctypes.POINTER(k)).contents.value for p, k in zip(pointers, kinds, strict=True)]
        self.launches.append((sizes, stream.value, values, extra))
        return 0

    def cuGetErrorString(self, code, text):  # noqa: N802
        ctypes.cast(text, ctypes.POINTER(ctypes.c_char_p)).contents.value = b"a PTX JIT compilation failed"
        return 0


def test_what_the_driver_is_given(monkeypatch):
    pretended = PretendedDriver()
    monkeypatch.setattr(driver, "_library", lambda: pretended)
    function = driver.Function(b"// ptx", "k", 60 << 10, 128)
    assert pretended.images == [b"// ptx\0"] and pretended.attributes == [(8, 60 << 10)]
    signature = (("x", "*fp32"), ("n", "i32"), ("B", "constexpr"), ("f", "fp32"), ("big", "i64"))
    variant = launch.Variant("k", signature, (("B", 64),), 4, 3)
    tensor = torch.zeros(4)
    arguments = launch._c_arguments(variant, [tensor, -3, 0.5, 1 << 40], 2)
    function.launch((7, 2), 4711, arguments)
    # Grid, block, dynamic shared memory; stream; arguments with two null pointers behind them; no extra.
    assert pretended.launches == [
        ([7, 2, 1, 128, 1, 1, 60 << 10], 4711, [tensor.data_ptr(), -3, 0.5, 1 << 40, None, None], None)
    ]
    with pytest.raises(RuntimeError, match=r"loading the kernel 'k' \(line 1: syntax error\) failed: a PTX JIT comp"):
        driver.Function(b"// wrong", "k", 0, 128)


def test_the_assemblers_report_is_read():
    usage = read_report(
        "ptxas info    : Function properties for k\n"
        "    16 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads\n"
        "ptxas info    : Used 141 registers, used 1 barriers, 16 bytes smem, 440 bytes cmem[0]\n",
        1000,
    )
    assert (usage.registers, usage.stack, usage.spill_stores, usage.spill_loads) == (141, 16, 24, 28)
    assert usage.shared == 1016
