"""The NeRF core of NeRF Toolkit: datasets in, radiance fields trained, pictures and points out.

Importing this package imports nothing heavy and never `bpy`; each subject lives in a sub-package of its own
(see `docs/architecture.md`).
"""

__version__ = "0.1.0"
