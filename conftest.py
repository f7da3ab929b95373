"""Makes `pytest --run runs/NAME` known (see verdict/pytest_plugin.py), and what its own tests need."""

pytest_plugins = ["verdict.pytest_plugin", "pytester"]
