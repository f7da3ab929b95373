"""What finished heads cost in one unit each, whichever prior trained them. One measure a file."""
