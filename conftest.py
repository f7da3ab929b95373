"""Adds `pytest --run runs/NAME` (see elk_pytest.py), and what the tests of that plugin need."""

pytest_plugins = ["elk_pytest", "pytester"]
