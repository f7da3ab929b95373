"""The judge is judged: planted heads of known identity."""
