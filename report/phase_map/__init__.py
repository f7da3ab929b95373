"""The phase map: whom each prior finds, cell by cell of a plane of two dials, beside what was
predicted.
"""
