"""Priors: what a head is charged beside its errors. One prior a file; the promise is in `prior.py`,
and `bill.py` measures finished heads.
"""
