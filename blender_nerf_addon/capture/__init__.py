"""Capture: from a Blender scene to a data set of posed pictures."""
