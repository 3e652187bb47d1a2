"""What is compared: our fast method, and the peers beside it."""

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One line of the comparison.

    Attributes
    ----------
    name : str
        As `--methods` takes it.
    titles : dict of str to str
        What tables and plots call it, a device; it runs on the devices that are named here.
    arguments : tuple of str
        For `nerf train`; the nerfacc peer is a script of its own and has none.
    compiles : bool
        Whether a first start compiles kernels, so that a cold start is worth measuring.
    needs : tuple of str
        Python modules beyond the core's.
    """

    name: str
    titles: dict[str, str]
    arguments: tuple[str, ...] = ()
    compiles: bool = False
    needs: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether `nerf` trains it."""
        return bool(self.arguments)

    def missing(self) -> str | None:
        """One sentence about the first module that is not installed here, or None."""
        for module in self.needs:
            if importlib.util.find_spec(module) is None:
                return (
                    f"The peer '{self.name}' is left out, because the Python module '{module}' is missing: "
                    f"python -m pip install {module} (it compiles CUDA code when it is first used)."
                )
        return None


METHODS = (
    Method(
        "fast",
        {device: "NeRF Toolkit, fast" for device in ("cpu", "cuda", "mps")},
        ("--method", "fast"),
        compiles=True,
    ),
    Method(
        "reference",
        {device: "plain torch, same field" for device in ("cpu", "cuda", "mps")},
        ("--method", "fast", "--setting", "backend=reference"),
    ),
    Method(
        "classic",
        {
            # The published sizes take ten seconds a step on two CPU cores.
            "cpu": "NeRF 2020, small (4x64)",
            "cuda": "NeRF 2020 (8x256)",
            "mps": "NeRF 2020, small (4x64)",
        },
        ("--method", "classic"),
    ),
    Method("nerfacc", {"cuda": "instant-ngp recipe, nerfacc"}, needs=("nerfacc",)),
)
"""In the order of tables and colours."""


def for_device(device: str) -> list[Method]:
    """The methods that run on a device."""
    return [method for method in METHODS if device in method.titles]


def named(names: str, device: str) -> list[Method]:
    """The methods of a list such as "fast,reference", in the order of `METHODS`.

    Raises
    ------
    SystemExit
        When a name is unknown or its method does not run on the device.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {method.name: method for method in for_device(device)}
    for name in wanted:
        if name not in known:
            raise SystemExit(f"There is no method '{name}' on {device}; --methods takes {', '.join(known)}.")
    if not wanted:
        raise SystemExit(f"--methods names no method; it takes {', '.join(known)}.")
    return [method for name, method in known.items() if name in wanted]
