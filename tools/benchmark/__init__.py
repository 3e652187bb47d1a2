"""The benchmark's parts: what is compared, how it is measured, what is kept of it, and how it is drawn."""
