"""What leaves the core: points, pictures, videos, and the camera paths that they are made along."""
