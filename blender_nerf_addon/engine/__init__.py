"""The render engine "NeRF Toolkit": final renders and the live viewport."""
