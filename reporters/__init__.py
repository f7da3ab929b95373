"""Reporters: heads that read activations and predict whether the concept holds. One architecture a
file; `reporter.py` defines the interface.
"""
