"""From the core's arrays to Blender's data: pictures, cameras, density points, samples along rays."""
