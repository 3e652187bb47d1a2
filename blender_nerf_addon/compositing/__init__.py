"""One picture of the scene and the NeRF, merged by depth."""
