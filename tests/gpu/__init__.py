"""The CUDA kernels' and backend's tests on a real NVIDIA GPU; without one every test here skips and says why."""
