"""GIFs written by imageio, read back by imageio and Pillow."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from duckdetect.errors import UserError
from duckdetect.video.gif import read_animation, write_gif


def frames() -> list[np.ndarray]:
    """Two shapes that move on a plain ground, and equal frames among them."""
    made = []
    for step in (0, 1, 1, 1, 2):
        frame = np.full((48, 64, 3), (40, 90, 160), np.uint8)
        frame[10:30, 5 + 10 * step : 25 + 10 * step] = (250, 210, 40)
        made.append(frame)
    return made


def test_imageio_and_pillow_read_every_frame_back(tmp_path: Path) -> None:
    path = tmp_path / "d.gif"
    write_gif(path, frames(), seconds_per_frame=0.37)
    by_imageio = iio.imread(path, plugin="pillow", mode="RGB")
    assert by_imageio.shape == (5, 48, 64, 3)
    with Image.open(path) as gif:
        assert gif.n_frames == 5
        assert gif.info["loop"] == 0
        for index, frame in enumerate(frames()):
            gif.seek(index)
            assert gif.info["duration"] == 370
            assert iio.immeta(path, plugin="pillow", index=index)["duration"] == 370
            by_pillow = np.asarray(gif.convert("RGB"))
            np.testing.assert_array_equal(by_pillow, by_imageio[index])
            # But for the corner pixel that keeps equal frames apart.
            np.testing.assert_allclose(by_pillow[1:].astype(int), frame[1:], atol=4)


def test_one_palette_serves_all_frames(tmp_path: Path) -> None:
    path = tmp_path / "d.gif"
    write_gif(path, frames())
    data = path.read_bytes()
    assert data[10] & 0x80  # a global colour table
    with Image.open(path) as gif:
        # Image descriptors (0x2C) that follow a graphic control block tell of a table of their own.
        descriptors = [i for i in range(len(data) - 10) if data[i : i + 2] == b"\x00\x2c"]
        assert gif.n_frames == 5
    assert len(descriptors) >= 5
    assert not any(data[i + 10] & 0x80 for i in descriptors)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_are_read_with_their_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    pages = [Image.fromarray(frame) for frame in frames()[:2]]
    more = {"lossless": True} if suffix == "webp" else {}
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=[120, 250], **more)
    read = list(read_animation(path))
    assert [round(1000 * seconds) for _, seconds in read] == [120, 250]
    for (image, _), frame in zip(read, frames(), strict=False):
        np.testing.assert_allclose(image.astype(int), frame, atol=4)


def test_what_is_no_animation_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="cannot be read as an animation"):
        list(read_animation(path))
