"""Set-ups of the documentation's pictures: small scenes, one function a picture, photographed in a real window."""

from .registry import names

__all__ = ["names"]
