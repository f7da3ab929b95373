"""Makes `pytest --run runs/NAME` known (see verdict/door.py), and what its own tests need."""

pytest_plugins = ["verdict.door", "pytester"]
