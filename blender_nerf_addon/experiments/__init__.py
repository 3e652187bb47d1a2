"""Experiments from Blender: the core's `nerf experiment` as a process of its own, its results, turntables compared."""
