"""What a finished head costs: one measure a file."""
