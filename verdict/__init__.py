"""The judge: does a head read the model's concept, or imitate the human? One kind of evidence a
file; `judge.py` decides.
"""
