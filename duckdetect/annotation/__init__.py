"""Drawing and correcting boxes in a notebook."""
