"""Which sampler a run is trained with: what a person may choose, what it costs, and the setting that says it."""

from typing import Any

import bpy

SAMPLERS = (
    (
        "OWN",
        "The Method's Own",
        "Fast: occupied cells. Classic: a coarse network's samples, then fine ones where it found matter",
    ),
    ("UNIFORM", "Uniform", "Evenly along the ray. As many evaluations on empty rays as on others"),
    (
        "HIERARCHICAL",
        "Hierarchical",
        "A coarse look along the ray, then fine samples where it found matter. Classic: two networks, the second one "
        "evaluated at both; Fast: trained with torch, slower",
    ),
    ("OCCUPANCY", "Occupancy", "In occupied cells, until the ray is opaque. Cheap where space is empty"),
    (
        "PROPOSAL",
        "Proposal",
        "Small networks propose where matter is: some hundred cheap evaluations a ray, few dear ones",
    ),
    ("SURFACE", "Surface", "A grid of densities says where matter begins: no coarse evaluations of the field at all"),
)
NAMES = tuple(name.lower() for name, *_ in SAMPLERS if name != "OWN")
#: Those that density between samples, and weights between coarse samples, matter for.
WITH_OPACITY, WITH_CDF = ("UNIFORM", "HIERARCHICAL"), ("HIERARCHICAL",)


def chosen_settings(settings: Any) -> dict[str, Any]:
    """The method's settings that `NERF_PG_training`'s sampler comes to; none where it is the method's own."""
    if settings.sampler == "OWN":
        return {}
    chosen: dict[str, Any] = {"name": settings.sampler.lower()}
    if settings.samples:
        chosen["samples"] = settings.samples
    if settings.sampler in WITH_OPACITY and settings.opacity != "CONSTANT":
        chosen["opacity"] = settings.opacity.lower()
    if settings.sampler in WITH_CDF and settings.cdf != "CONSTANT":
        chosen["cdf"] = settings.cdf.lower()
    return {"sampler": chosen}


def told(given: Any) -> str:
    """What a run's setting `sampler` is called."""
    values = given if isinstance(given, dict) else {"name": given}
    labels = {name.lower(): label for name, label, _ in SAMPLERS}
    name = labels.get(str(values.get("name")), str(values.get("name")))
    return f"{name}, {values['samples']} samples" if values.get("samples") else name


def draw(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw the sampler with what belongs to it."""
    column = layout.column()
    column.prop(settings, "sampler")
    if settings.sampler != "OWN":
        column.prop(settings, "samples")
    if settings.sampler in WITH_OPACITY:
        column.prop(settings, "opacity")
    if settings.sampler in WITH_CDF:
        column.prop(settings, "cdf")
