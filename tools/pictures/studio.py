"""The outside of the studio: a Blender program with the extension installed, a trained run, and photographs cut out."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageGrab

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MOST_BYTES = 300_000
SCALES = (1.0, 0.85, 0.72, 0.6, 0.5)  # until a picture is small enough
PICTURE_SECONDS = 420


class Studio:
    """One Blender with the built extension in a user folder of its own.

    Parameters
    ----------
    program : str
        Blender, or a wrapper around it that gives it a display.
    core_python : str
        For the core; it must run where the program runs.
    place : Path
        Working files: the scene, the run, screenshots.
    run : Path, optional
        A trained run to use; by default one is captured and trained in `place`.
    """

    def __init__(self, program: str, core_python: str, place: Path, run: Path | None) -> None:
        self.program, self.place = program, place
        self.run = run or place / "run"
        self.scene = place / "scene.blend"
        place.mkdir(parents=True, exist_ok=True)
        self._home = tempfile.TemporaryDirectory(prefix="nerf-toolkit-pictures-")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BLENDER_USER_")}
        self._variables = {**kept, "BLENDER_USER_RESOURCES": self._home.name, "NERF_CORE_PYTHON": core_python}

    def close(self) -> None:
        """Take the user folder away."""
        self._home.cleanup()

    def open(self) -> None:
        """Install the extension, build the scene, and have a trained run."""
        from build_extension import build

        package = build(self.place / "zip")
        self._blender("--command", "extension", "install-file", "-r", "user_default", "--enable", str(package))
        self._blender("-b", "--python-exit-code", "3", "--python", str(HERE / "prepare.py"), "--", str(self.scene))
        if not (self.run / "checkpoint.safetensors").is_file():
            print("Capturing and training the scene (some minutes) ...", flush=True)
            subprocess.run([sys.executable, str(HERE / "learn.py"), str(self.place)], check=True)

    def take(self, name: str, target: Path) -> str | None:
        """Set a picture up in a window, photograph it, and write the part that is meant.

        Returns
        -------
        str or None
            Why there is no picture: a sentence.
        """
        # Its path is seen in some pictures, so it lies where it says nothing about this machine.
        folder = Path(tempfile.mkdtemp(prefix="pictures-"))
        try:
            scene = shutil.copy2(self.scene, folder / "tea table.blend")
            run = folder / "nerf" / "tea table"
            shutil.copytree(self.run, run)
            script = ["--python", str(HERE / "inside.py"), "--", name, str(folder), str(run)]
            reason = self._watch([self.program, "--enable-event-simulate", str(scene), *script], folder)
            result = folder / "result.json"
            if reason is not None or not result.is_file():
                return reason or f"Blender left without a word; its log is '{self._keep_log(folder, name)}'."
            told = json.loads(result.read_text(encoding="utf-8"))
            if "missing" in told:
                return told["missing"]
            if "error" in told:
                self._keep_log(folder, name)
                return told["error"].strip().splitlines()[-1] + f" (more in '{self.place / f'{name}.log'}')"
            cut(folder / "screen.png", told["crop"], target)
            return None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep_log(self, folder: Path, name: str) -> Path:
        log = self.place / f"{name}.log"
        text = (folder / "blender.log").read_text(encoding="utf-8", errors="replace")
        if (folder / "result.json").is_file():
            text += "\n" + (folder / "result.json").read_text(encoding="utf-8").replace("\\n", "\n")
        log.write_text(text, encoding="utf-8")
        return log

    def _watch(self, command: list[str], folder: Path) -> str | None:
        """Run Blender and take the screenshots that it asks for; a sentence when it does not end."""
        with open(folder / "blender.log", "wb") as log:
            process = subprocess.Popen(command, env=self._variables, stdout=log, stderr=subprocess.STDOUT)
            until = time.monotonic() + PICTURE_SECONDS
            while process.poll() is None and time.monotonic() < until:
                for asked in folder.glob("*.asked"):
                    part = asked.with_suffix(".part")
                    display = asked.read_text(encoding="utf-8")
                    ImageGrab.grab(xdisplay=display or None).save(part, format="PNG")
                    part.replace(asked.with_suffix(".png"))
                    asked.unlink()
                time.sleep(0.1)
            if process.poll() is None:
                process.kill()
                process.wait()
                return f"Blender did not end within {PICTURE_SECONDS} s."
        return None

    def _blender(self, *arguments: str) -> None:
        done = subprocess.run([self.program, *arguments], env=self._variables, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"'{self.program} {' '.join(arguments)}' failed:\n{(done.stdout + done.stderr)[-3000:]}")


def cut(screen: Path, crop: list[int], target: Path) -> None:
    """Write the part (left, low, width, height) of a screenshot with 256 colours, as large as may be."""
    left, low, width, height = crop
    with Image.open(screen) as whole:
        top = whole.height - low - height
        part = whole.convert("RGB").crop((left, top, left + width, top + height))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part")
    for scale in SCALES:
        size = (round(width * scale), round(height * scale))
        small = part if scale == 1.0 else part.resize(size, Image.Resampling.LANCZOS)
        small.quantize(256, dither=Image.Dither.NONE).save(beside, format="PNG", optimize=True)
        if beside.stat().st_size <= MOST_BYTES:
            break
    beside.replace(target)
