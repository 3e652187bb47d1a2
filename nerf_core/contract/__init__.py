"""What the add-on and the core agree on: cameras, datasets, run folders, messages (stdlib and numpy only).

This is the one package that both processes import. It holds no torch, no bpy and nothing that is slow to import.
"""
