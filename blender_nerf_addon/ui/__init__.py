"""Panels and boxes: they draw what is known, and neither wait nor look anything up that takes time."""
