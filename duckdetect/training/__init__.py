"""From labelled images to a detector."""
