"""Photographs in: data sets that were made elsewhere, as cameras with their pictures."""
