"""Compiling what projects volumes, phantoms and meshes before it is needed."""

from collections.abc import Callable

import numpy as np

from ..contract.errors import Cancelled
from ..contract.xray import ConeBeam


def compile_projectors(should_stop: Callable[[], bool] | None = None) -> None:
    """Compile these kernels, or find them compiled: some seconds the first time.

    Parameters
    ----------
    should_stop : callable, optional
        Asked between them.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    from ..ct import Volume
    from ..ct.phantoms import ellipsoid_phantom
    from .mesh_integrals import Solid
    from .overlap import OverlapSource
    from .projector import backproject_volume
    from .sources import PhantomSource, VolumeSource

    camera = ConeBeam(1.0, 2.0, (1.0, 1.0), (1, 1)).camera(np.zeros(3), 0.0)
    phantom = ellipsoid_phantom("ellipsoids")
    corners, faces = np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    corner = Solid("corner", corners, faces, 1.0)
    volume = Volume(np.zeros((2, 2, 2), np.float32), np.eye(4))
    parts: list[Callable[[], object]] = [
        lambda: VolumeSource(volume).line_integrals(camera),
        lambda: backproject_volume(np.ones(1), (2, 2, 2), np.eye(4), np.zeros((1, 3)), np.ones((1, 3))),
        lambda: PhantomSource(phantom).line_integrals(camera),
        lambda: phantom.volume(4),
        lambda: OverlapSource([(VolumeSource(volume), 0)], [corner]).line_integrals(camera),
        lambda: VolumeSource(volume).between(np.zeros((1, 3)), np.eye(3)[:1], np.zeros(1), np.ones(1)),
    ]
    for part in parts:
        if should_stop is not None and should_stop():
            raise Cancelled
        part()
