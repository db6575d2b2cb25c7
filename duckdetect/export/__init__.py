"""A detector for other places, one module for each target, and the proof that it is still the same."""
