"""Priors: the charge that is added to a head's errors. One prior a file; `prior.py` defines the
interface.
"""
