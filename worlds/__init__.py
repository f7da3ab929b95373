"""Worlds: where episodes come from. One world a file; the contract is in `world.py`."""
