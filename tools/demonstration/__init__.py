"""The parts of `tools/demo.py`: the scene, its capture through the add-on, the core's side, and the report."""
