"""The inspector: the rays of a pixel as they stand in the scene, live (needs bpy only where it draws and clicks)."""
