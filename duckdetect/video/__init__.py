"""Upright frames with their times in, MP4 with sound and GIF out, identities across frames."""
