"""Generative models of radiographs: MedNeRF and HyperNeRFGAN behind one interface, their metrics and inversion."""
