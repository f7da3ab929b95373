"""The configs of a run, and the code that builds its parts and its plan from them."""
