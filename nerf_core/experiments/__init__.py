"""Experiments: a grid of settings trained one after another, measured alike, and compared in a report."""
