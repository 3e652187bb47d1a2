"""What tests of experiments share: a small plan of two by two cells, written where it is wanted."""

from pathlib import Path

from .small_training import SETTINGS

SMALL = f"""
[experiment]
title = "Two by two & <more>"
views = 2
turntable = {{ frames = 3, size = 24 }}

[defaults]
method = "classic"
steps = 12
settings = {{ {", ".join(f"{key} = {value}" for key, value in SETTINGS.items())} }}

[grid.samples]
"8+8" = {{ coarse = 8, fine = 8 }}
"0+8" = {{ coarse = 8, fine = 0 }}

[grid.ablation]
"everything" = {{}}
"no viewing directions" = {{ view_directions = false }}
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path
