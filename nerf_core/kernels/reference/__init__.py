"""The fast method in plain torch: readable, differentiable, on any device, in float32 or float64; the oracle."""
