"""Data sets in: readers, images, bounds."""
