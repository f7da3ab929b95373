"""Optimizers: how heads are moved towards less loss. One file each."""
