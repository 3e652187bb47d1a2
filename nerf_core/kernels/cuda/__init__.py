"""The fast method on NVIDIA GPUs: Triton kernels, and the backend that runs them as one CUDA graph."""
