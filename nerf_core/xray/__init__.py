"""Radiographs of volumes and meshes, and volumes from radiographs."""
