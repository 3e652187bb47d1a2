"""NeRF Toolkit: capture a scene, train a NeRF beside Blender, bring views, points and samples back."""

from . import registration


def register() -> None:
    """Register everything; called by Blender."""
    registration.register()


def unregister() -> None:
    """Unregister everything; called by Blender."""
    registration.unregister()
