"""What stands between a user and the code: errors, progress and the command line."""
