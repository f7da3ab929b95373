"""Predictors: trained or loaded once, then frozen, read and written back. The promise is in
`predictor.py`.
"""
