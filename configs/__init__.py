"""The configs of a run, and what turns them into parts."""
