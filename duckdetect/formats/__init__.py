"""One module for each file format of labelled pictures: read it, write it."""
