"""Compile the CUDA kernels ahead: PTX for every NVIDIA GPU from Ampere on, without one at hand.

``python tools/build_kernels.py`` writes ``nerf_core/kernels/cuda/ahead/sm_80.json`` and ``sm_90.json``, which the core
then launches through the driver, so that neither Triton nor a C compiler is needed where it trains, and no first step
waits for a compiler. ``tools/build_extension.py`` takes them along while they belong to the sources. They are never
committed. Needs Linux, where Triton is.

    --check    compile and print what each kernel needs of a GPU, and write nothing
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import environment


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print what each kernel needs, and write nothing")
    parser.add_argument("--processes", type=int, default=None, help="compilers at once (default: one a core)")
    options = parser.parse_args()
    environment.enter(("test",))
    # Triton decides when it is first imported whether it interprets.
    os.environ.pop("TRITON_INTERPRET", None)
    sys.path.insert(0, str(environment.ROOT))
    from nerf_core.kernels.cuda import ahead, catalogue, images

    began = time.perf_counter()
    variants = catalogue.record(everything=not options.check)
    print(f"Compiling {len(variants)} kernels", flush=True)
    architectures = tuple(ahead.ARCHITECTURES) if options.check else images.TARGETS
    built = ahead.build(variants, architectures, options.processes, _progress)
    if options.check:
        print(usage_table(built, architectures))
        return 0
    for target in images.TARGETS:
        path = write(built, target, images.FOLDER)
        print(f"Wrote {path} ({path.stat().st_size / 1024:.0f} KB)")
    print(f"Done in {time.perf_counter() - began:.0f} s.")
    return 0


def write(built: list, target: int, folder: Path) -> Path:
    """Write the images of one target beside, and put them in their place; returns the file."""
    from nerf_core.kernels.cuda import images

    folder.mkdir(exist_ok=True)
    path = folder / f"sm_{target}.json"
    kernels = {each.variant.key: each.images[target].to_json() for each in built}
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps({"sources": images.fingerprint(), "kernels": kernels}), encoding="utf-8")
    beside.replace(path)
    return path


def usage_table(built: list, architectures: tuple[int, ...]) -> str:
    """Registers a thread and shared memory a block of every kernel, an architecture a column."""
    lines = [f"{'kernel':34}" + "".join(f"{f'sm_{each}':>16}" for each in architectures)]
    for each in sorted(built, key=lambda one: one.variant.key):
        unbounded = dict(each.variant.constants).get("UNBOUNDED")
        cells = [each.usage[architecture] for architecture in architectures]
        row = "".join(f"{f'{c.registers} r {c.shared / 1024:.1f} KB':>16}" for c in cells)
        spills = "  SPILLS" if any(c.spill_stores or c.spill_loads for c in cells) else ""
        lines.append(f"{each.variant.name + (' (unbounded)' if unbounded else ''):34}{row}{spills}")
    return "\n".join(lines)


def _progress(done: int, total: int) -> None:
    if sys.stdout.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", flush=True)


if __name__ == "__main__":
    sys.exit(main())
