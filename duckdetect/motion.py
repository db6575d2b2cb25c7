"""How a box moves: a Kalman filter of constant speed, for frames at any distance in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# SORT's and DeepSORT's noise (Wojke et al. 2017, arXiv 1703.07402, and their code): parts of the box's
# height, a frame at 30 frames a second.
_PLACE = 1 / 20
_SPEED = 1 / 160
_FRAMES_PER_S = 30


class Motion:
    """Centre, width and height of a box and the speed of each.

    The four are independent in SORT's filter: its matrices of 8 x 8 hold four filters of place and
    speed and zeros between them. Here they are these four, side by side.
    """

    def __init__(self, xyxy: npt.NDArray[Any], seconds: float) -> None:
        self._seconds = seconds
        self._place = _to_cxcywh(xyxy)  # (4,)
        self._speed = np.zeros(4)  # pixels in a thirtieth of a second
        size = self._size()
        # Twice and ten times the noise of a step, as DeepSORT begins: the speed is not known at all.
        self._cov = np.zeros((4, 2, 2))
        self._cov[:, 0, 0] = (2 * _PLACE * size) ** 2
        self._cov[:, 1, 1] = (10 * _SPEED * size) ** 2

    def at(self, seconds: float) -> npt.NDArray[np.float64]:
        """The box expected at this time, xyxy (4,)."""
        return _to_xyxy(self._place + self._speed * (seconds - self._seconds) * _FRAMES_PER_S)

    def update(self, xyxy: npt.NDArray[Any], seconds: float) -> None:
        """Learn where it was found, at a time later than before."""
        steps = (seconds - self._seconds) * _FRAMES_PER_S
        size = self._size()
        move = np.array([[1.0, steps], [0.0, 1.0]])
        self._place = self._place + self._speed * steps
        # The noise of `steps` small steps adds up.
        noise = np.diag([(_PLACE * size) ** 2, (_SPEED * size) ** 2]) * steps
        cov = move @ self._cov @ move.T + noise  # (4, 2, 2)
        gain = cov[:, :, 0] / (cov[:, 0, 0] + (_PLACE * self._size()) ** 2)[:, None]  # (4, 2)
        error = _to_cxcywh(xyxy) - self._place
        self._place = self._place + gain[:, 0] * error
        self._speed = self._speed + gain[:, 1] * error
        self._cov = cov - gain[:, :, None] * cov[:, :1, :]
        self._seconds = seconds

    def _size(self) -> float:
        return max(1.0, float(self._place[3]))


def _to_cxcywh(xyxy: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    x1, y1, x2, y2 = np.asarray(xyxy, float)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _to_xyxy(cxcywh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    cx, cy, w, h = cxcywh
    w, h = max(w, 1.0), max(h, 1.0)  # a box that shrank does not turn inside out
    return np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
