"""The project's own clip of walking figures: it plays in a browser, and something walks in it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def test_the_walkers_clip_is_what_it_says(project_data: Path) -> None:
    path = project_data / "people" / "walk.mp4"
    assert path.stat().st_size < 1_500_000
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # a browser plays before all is loaded
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert np.shape(frames) == (125, 360, 640, 3)
    empty = np.median(frames[::5], axis=0)
    for frame in frames[::25]:
        # The house stands still, and people are a small part of the picture.
        moved = (np.abs(frame - empty).max(axis=2) > 40).mean()
        assert 0.01 < moved < 0.2
