"""Encodings and radiance fields."""
