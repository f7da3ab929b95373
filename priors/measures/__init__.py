"""Measures of finished heads that no prior charges: diagnostics. One measure a file."""
