"""Work that runs in the core: its process, the one pump that listens to it, training, and setting it up."""
