"""Files that are whole or absent: tensors, caches, run folders."""
