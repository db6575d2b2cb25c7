"""Image files; boxes and masks as geometry; drawing on images."""
