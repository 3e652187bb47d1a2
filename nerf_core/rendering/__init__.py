"""From a method and a camera to a picture, and the volume rendering equations in torch."""
