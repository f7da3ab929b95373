"""Reports: what finished runs say. Reads run folders alone."""
