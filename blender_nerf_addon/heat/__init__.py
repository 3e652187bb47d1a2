"""Heat maps in Blender: where a NeRF looks, as render passes, in the viewport and in an Image Editor."""
