"""A run on one page, as HTML and PDF."""
