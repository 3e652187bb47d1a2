"""The two walls: no torch in the add-on, no bpy in the core; and the contract needs numpy alone."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADDON = ROOT / "blender_nerf_addon"
CORE = ROOT / "nerf_core"
# What Blender's Python brings beside the standard library, and nothing that has to be installed.
BLENDER = {
    "bpy",
    "bpy_extras",
    "mathutils",
    "numpy",
    "gpu",
    "gpu_extras",
    "blf",
    "bmesh",
    "addon_utils",
    "bl_ui",
    "_cycles",
}
CONTRACT = ["vendor", "nerf_core", "contract"]
# Absolute paths of some machine, and the hosts of package indexes: these are pip's to know. The neighbour ../shared
# that .ci/run looks into is a relative path: it is looked for, and done without where it is not.
MACHINE = re.compile(
    r"(?<![\w.>}])/(?:work|root|home/[a-z][\w-]*|opt/pypi)(?=[/\s\"'`,;:)]|$)"
    r"|pypi\.(?:org|python\.org)|pythonhosted\.org|download\.pytorch\.org",
    re.MULTILINE,
)


def run(code: str) -> str:
    """What a fresh interpreter prints that finds the core in this checkout."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def core_modules() -> list[str]:
    names = []
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def test_no_module_of_the_core_reaches_bpy():
    names = core_modules()
    assert "nerf_core.training.trainer" in names and "nerf_core.cli.train" in names
    loaded = run(
        f"import importlib, json\nfor name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    strangers = {"bpy", "mathutils", "bpy_extras", "blender_nerf_addon"} & {n.split(".")[0] for n in json.loads(loaded)}
    assert not strangers
    assert not [str(path) for path in CORE.rglob("*.py") if {"bpy", "mathutils"} & set(imported_roots(path))]


def test_the_contract_needs_the_standard_library_and_numpy_alone():
    names = [name for name in core_modules() if name.startswith("nerf_core.contract")]
    loaded = run(
        "import importlib, json, numpy.random\nbefore = set(sys.modules)\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    roots = {name.split(".")[0] for name in json.loads(loaded)}
    assert roots - set(sys.stdlib_module_names) - {"numpy"} == {"nerf_core"}
    allowed = {"nerf_core", "nerf_core.contract", *names}
    assert {name for name in json.loads(loaded) if name.split(".")[0] == "nerf_core"} == allowed


def test_the_command_line_starts_light():
    loaded = json.loads(
        run(
            "import json\nfrom nerf_core.cli import build_parser\nbuild_parser()\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    heavy = {"torch", "numba", "scipy", "skimage", "PIL", "OpenEXR", "imageio_ffmpeg", "safetensors", "bpy"}
    assert not heavy & {name.split(".")[0] for name in loaded}


def imported_roots(path: Path) -> list[str]:
    """Top-level names of all absolute imports, wherever in the file they stand."""
    roots = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            roots.append((node.module or "").split(".")[0])
    return roots


def relative_imports(source: str, package: list[str]) -> list[list[str]]:
    """What relative imports mean, from the add-on's top: `from ..vendor import x` in `jobs` is [vendor, x]."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)] + (node.module.split(".") if node.module else [])
            found += [[*base, alias.name] for alias in node.names]
    return found


def wall_breakers(source: str, package: list[str]) -> list[str]:
    """Imports of the vendored core beyond its contract."""
    named = relative_imports(source, package)
    for node in ast.walk(ast.parse(source)):
        # importlib.import_module("...") and the like.
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            word = node.args[0].value
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(word, str):
                named.append(word.strip(".").split("."))
    return [
        ".".join(name)
        for name in named
        if "nerf_core" in name or name[:1] == ["vendor"]
        if name[: len(CONTRACT)] != CONTRACT
    ]


ADDON_FILES = sorted(ADDON.rglob("*.py"))


@pytest.mark.parametrize("path", ADDON_FILES, ids=lambda path: path.relative_to(ADDON).as_posix())
def test_the_addon_imports_what_blender_ships_and_of_the_core_the_contract(path):
    strangers = set(imported_roots(path)) - set(sys.stdlib_module_names) - BLENDER
    assert not strangers
    package = list(path.relative_to(ADDON).parent.parts)
    assert not wall_breakers(path.read_text(encoding="utf-8"), package)


def test_the_wall_is_seen_through_every_way_to_import():
    assert ADDON_FILES
    for line in (
        "from ..vendor.nerf_core.training import trainer",
        "from ..vendor.nerf_core import training",
        "from ..vendor import nerf_core",
        "from .. import vendor",
        "import importlib\nimportlib.import_module('nerf_core.training')",
    ):
        assert wall_breakers(line, ["jobs"]), line
    for line in (
        "from ..vendor.nerf_core.contract.camera import Camera",
        "from ..vendor.nerf_core.contract import lens",
    ):
        assert not wall_breakers(line, ["jobs"]), line


def project_files() -> list[Path]:
    """What git tracks; without git (in an unpacked archive) all but what tools make."""
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return [path for name in asked.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    made = ("build", "dist", "out", "__pycache__")
    tops = [path for path in ROOT.iterdir() if path.name not in made and not path.name.startswith(".")]
    found = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


def test_nothing_in_the_project_names_a_machine_or_a_package_index():
    paths = project_files()
    assert ROOT / "README.md" in paths and Path(__file__) in paths
    hits = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        hits += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in MACHINE.finditer(text)]
    assert not hits


def test_machine_paths_and_package_indexes_are_seen():
    index, files = "pypi" + ".org", "files.python" + "hosted.org"
    for text in ("/" + "work/main", "cd /" + "root", "'/" + "home/ann/x'", f"https://{index}/simple", files):
        assert MACHINE.search(text), text
    for text in ("../shared/data", "run/work/x", "https://www.blender.org", "self.root / 'home'", "/home/<name>/x"):
        assert not MACHINE.search(text), text


def test_nothing_in_the_project_unpickles():
    for path in [*ADDON_FILES, *CORE.rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text, path
        # Networks of other people come as torch's files; reading their tensors alone runs nothing.
        loads = re.findall(r"torch\.load\([^)]*\)", text)
        assert all("weights_only=True" in call for call in loads), path
        assert not loads or path.relative_to(CORE).as_posix() == "gan/perceptual.py", path
