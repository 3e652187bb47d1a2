"""The X-ray mode: what attenuates, the cone-beam rig, radiographs, and what is made of them."""
