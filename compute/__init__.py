"""Where and how the work runs: Lightning, batches, memory."""
