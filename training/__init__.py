"""Training: K heads at once in one Lightning fit. `population.py` trains, `heads.py` is what comes
out.
"""
