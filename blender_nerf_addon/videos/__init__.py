"""Turntables and animations of a NeRF: which cameras, into which files. The pictures and the video are the core's."""
