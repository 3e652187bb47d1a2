"""The process that serves a Blender session over its standard input and output."""
