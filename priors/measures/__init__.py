"""What finished heads cost, one unit a file; `priors/bill.py` asks them all."""
