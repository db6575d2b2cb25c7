"""A trained detector: build, save, load, predict; on folders and videos."""
