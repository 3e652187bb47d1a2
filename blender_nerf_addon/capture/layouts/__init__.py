"""Captured data sets laid out for other programs, bpy-free but for `job` and `points`."""
