"""Files that are whole or absent: tensors, the cache, run folders."""
