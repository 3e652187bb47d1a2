"""Real spherical harmonics of degree 0 to 3 of a direction: what the colour network is told of the view."""

import numpy as np

from .compile import compiled

F = np.float32


@compiled
def spherical_harmonics(direction, out):
    """Write the 16 values at a unit direction (Ramamoorthi & Hanrahan 2001, with the usual signs)."""
    x, y, z = direction[0], direction[1], direction[2]
    xx, yy, zz = x * x, y * y, z * z
    out[0] = F(0.28209479177387814)
    out[1] = F(-0.48860251190291987) * y
    out[2] = F(0.48860251190291987) * z
    out[3] = F(-0.48860251190291987) * x
    out[4] = F(1.0925484305920792) * x * y
    out[5] = F(-1.0925484305920792) * y * z
    out[6] = F(0.94617469575755997) * zz - F(0.31539156525251999)
    out[7] = F(-1.0925484305920792) * x * z
    out[8] = F(0.54627421529603959) * (xx - yy)
    out[9] = F(0.59004358992664352) * y * (yy - F(3.0) * xx)
    out[10] = F(2.8906114426405538) * x * y * z
    out[11] = F(0.45704579946446572) * y * (F(1.0) - F(5.0) * zz)
    out[12] = F(0.3731763325901154) * z * (F(5.0) * zz - F(3.0))
    out[13] = F(0.45704579946446572) * x * (F(1.0) - F(5.0) * zz)
    out[14] = F(1.4453057213202769) * z * (xx - yy)
    out[15] = F(0.59004358992664352) * x * (F(3.0) * yy - xx)
