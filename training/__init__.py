"""Training: finds K heads at once. `find_heads.py` chooses how, `heads.py` is the result."""
