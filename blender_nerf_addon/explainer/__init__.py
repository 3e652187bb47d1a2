"""The explainer: how this scene's NeRF makes one pixel, told as a keyframed scene of its own."""
