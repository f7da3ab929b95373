"""Reporters: heads that read activations and say whether the concept holds. One architecture a
file; the promise is in `reporter.py`.
"""
