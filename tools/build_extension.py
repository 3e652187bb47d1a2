"""Build the Blender extension: stage add-on, manifest and core into one tree, validate it, zip it.

``python tools/build_extension.py [--out dist]`` writes ``dist/nerf_toolkit-VERSION.zip``, which Blender installs with
"Install from Disk". It takes along the CUDA kernels that ``tools/build_kernels.py`` has compiled from these very
sources, if it has. The tests stage the same tree with :func:`stage`, so that what is tested is what ships.
"""

import argparse
import json
import re
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_TAGLINE = 64
PERMISSIONS = {"files", "network", "clipboard", "camera", "microphone"}


def stage(folder: Path) -> Path:
    """Copy what ships into an empty or absent `folder`, laid out as Blender wants an extension; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"'{folder}' is not empty: name a new folder to stage the extension in.")
    leave = shutil.ignore_patterns("__pycache__", "*.pyc", "*.nbi", "*.nbc")
    shutil.copytree(ROOT / "blender_nerf_addon", folder, ignore=leave, dirs_exist_ok=True)
    shutil.copytree(ROOT / "nerf_core", folder / "vendor" / "nerf_core", ignore=leave)
    kernels = folder / "vendor" / "nerf_core" / "kernels" / "cuda" / "ahead"
    if kernels.exists() and not kernels_belong(kernels):
        shutil.rmtree(kernels)
    (folder / "vendor" / "__init__.py").write_text(
        '"""Code of other packages that ships inside the extension; the add-on imports `nerf_core.contract` only."""\n'
    )
    # The managed environment is set up from these two, which therefore travel along.
    shutil.copy2(ROOT / "constraints.txt", folder / "vendor" / "constraints.txt")
    shutil.copy2(ROOT / "pyproject.toml", folder / "vendor" / "pyproject.toml")
    shutil.copy2(ROOT / "blender_manifest.toml", folder / "blender_manifest.toml")
    licence = ROOT / "LICENSE"
    if licence.exists():
        shutil.copy2(licence, folder / "LICENSE")
    return folder


def kernels_belong(ahead: Path) -> bool:
    """Whether the kernels that `tools/build_kernels.py` wrote into a folder are of the sources beside it."""
    sys.path.insert(0, str(ROOT))
    from nerf_core.kernels.cuda.images import TARGETS, fingerprint

    try:
        found = {json.loads((ahead / f"sm_{each}.json").read_text(encoding="utf-8"))["sources"] for each in TARGETS}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return found == {fingerprint(ahead.parent)}


def validate(folder: Path) -> dict:
    """Check what Blender's own validator misses; returns the manifest.

    Raises
    ------
    SystemExit
        With one sentence that names the first fault.
    """
    manifest = tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))
    faults = []
    if "blender" in manifest["name"].lower():
        faults.append("the extension's name must not hold the word 'Blender'")
    if not re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"]):
        faults.append(f"version '{manifest['version']}' must have three parts")
    tagline = manifest["tagline"]
    if len(tagline) > MAX_TAGLINE or not tagline[-1].isalnum():
        faults.append(f"the tagline must have at most {MAX_TAGLINE} characters and end in no punctuation")
    if not all(licence.startswith("SPDX:") for licence in manifest["license"]):
        faults.append("each licence must start with 'SPDX:'")
    for name, reason in manifest.get("permissions", {}).items():
        if name not in PERMISSIONS or not reason[-1].isalnum() or len(reason) > 64:
            faults.append(f"permission '{name}' is unknown, or its reason is too long or ends in punctuation")
    if not (folder / "__init__.py").exists():
        faults.append("there is no __init__.py beside the manifest")
    compiled = [path.name for path in folder.rglob("*") if path.suffix in {".so", ".pyd", ".dll", ".whl", ".pyc"}]
    if compiled:
        faults.append(f"compiled files must not ship: {', '.join(compiled[:3])}")
    core = re.search(r'__version__ = "(.+)"', (folder / "vendor/nerf_core/__init__.py").read_text(encoding="utf-8"))
    if core is None or core.group(1) != manifest["version"]:
        faults.append("the manifest and nerf_core/__init__.py must carry the same version")
    if faults:
        raise SystemExit(f"The extension is not valid: {faults[0]}.")
    return manifest


def zip_tree(folder: Path, target: Path) -> None:
    """Zip `folder`'s content in a fixed order with fixed times, so that the same source gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part")
    with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=(2026, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    beside.replace(target)


def build(out: Path) -> Path:
    """Stage, validate and zip; returns the zip's path."""
    staging = ROOT / "build" / "extension"
    if staging.exists():
        shutil.rmtree(staging)  # ours: nothing but this script writes under build/
    stage(staging)
    manifest = validate(staging)
    target = out / f"{manifest['id']}-{manifest['version']}.zip"
    zip_tree(staging, target)
    return target


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    options = parser.parse_args(arguments)
    target = build(options.out)
    ahead = ROOT / "build/extension/vendor/nerf_core/kernels/cuda/ahead"
    print("With the CUDA kernels compiled ahead." if ahead.exists() else
          "Without CUDA kernels compiled ahead (tools/build_kernels.py makes them).")  # fmt: skip
    print(f"Built {target} ({target.stat().st_size / 1024:.0f} KB). In Blender: Preferences > Get Extensions > "
          "Install from Disk.")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
