"""Worlds: where episodes come from. One world a file; the promise is in `world.py`."""
