"""A trained NeRF as a Blender object: an empty with its box that knows its run, and where it stands."""
