"""What a user is told when something cannot be done: what is wrong, where, and the cure, in one
line.
"""


class Refusal(Exception):
    """A user's mistake or a missing thing. `train.py` prints its one line and exits with code 1;
    nothing is half-written.
    """
