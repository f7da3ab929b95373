"""Experiments that need no world and no predictor: each is one class, and one YAML of
configs/experiment that says `job:`.
"""
