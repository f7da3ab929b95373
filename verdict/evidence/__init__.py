"""The kinds of evidence that the judge weighs, one a file."""
