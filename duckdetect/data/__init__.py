"""Labelled images: read, check, split, convert, augment."""
