"""The console: errors, progress and the command line."""
