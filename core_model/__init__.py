"""Predictors: trained or loaded once, then frozen, read and written back. The contract is in
`predictor.py`.
"""
