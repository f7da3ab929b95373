"""What finished heads cost: one measure a file, and the meter that loops over them."""
