"""The parts of a story, in their order: each builds its objects and keyframes and says at which frame it ends."""
