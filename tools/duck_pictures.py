"""The list of pictures: five to learn from, thirty to test on, one short film."""

from __future__ import annotations

import numpy as np
from duck_layout import Picture, aim
from duck_scene import Camera, Placed

BIG = (800, 600)


def train_pictures() -> list[Picture]:
    """What a user would photograph: one duck each, different sides and surfaces."""
    p = Picture  # name, surface, backdrop, light, share, heading, raised, at_uv, toys, ducks
    return [
        p("duck_01", "oak", "room", "window_left", 0.42, 35, 20, (0.02, 0.04), size_wh=BIG),
        p("duck_02", "white_tiles", "wall:blue_tiles", "window_front", 0.36, -80, 32, (-0.12, 0.06),
          ("cup:red", "bottle:sky"), size_wh=BIG, stops=0.35),
        p("duck_03", "carpet", "shelf:cream_wall", "lamp", 0.30, 150, 42, (0.10, 0.08),
          ("block:red", "ball:blue", "block:green"), size_wh=BIG, stops=-0.4),
        p("duck_04", "paper", "room", "studio", 0.38, -30, 62, (-0.05, 0.0),
          ("lemon", "brick:red"), size_wh=BIG, stops=0.2),
        p("duck_05", "concrete", "wall:bricks", "overcast", 0.24, 75, 14, (0.14, 0.10),
          ("car:blue", "star:yellow"), size_wh=BIG, stops=0.25),
    ]  # fmt: skip


def test_pictures() -> list[Picture]:
    """Ordinary, small, several, hidden, dark, bright, and without a duck."""
    p = Picture  # name, surface, backdrop, light, share, heading, raised, at_uv, toys, ducks
    return [
        # Ordinary views; many surfaces and sides are not in the training set.
        p("test_01", "walnut", "room", "window_right", 0.33, 10, 18, (-0.1, 0.05),
          ("apple:red", "cup:white")),
        p("test_02", "gingham", "wall:cream_wall", "window_left", 0.30, 120, 30, (0.12, 0.05),
          ("cup:yellow", "banana"), stops=0.2),
        p("test_03", "grass", "garden", "sun", 0.36, -50, 28, (0.0, 0.03)),
        p("test_04", "tub", "wall:white_tiles", "window_right", 0.34, -100, 17, (0.10, 0.10),
          ("bottle:green",), stops=0.4),
        p("test_05", "sand", "garden", "sun", 0.26, 60, 20, (-0.14, 0.06),
          ("ball:red", "star:pink")),
        p("test_06", "news", "room", "window_left", 0.37, 25, 72, (0.0, 0.0),
          ("cup:sky",), stops=0.35),
        p("test_07", "oak", "room", "window_front", 0.34, -55, 34, (0.05, -0.02),
          ("block:yellow", "brick:yellow", "plain_ball:yellow"),
          size_wh=(480, 640)),
        p("test_08", "pine", "wall:stripes", "studio", 0.22, 80, 8, (-0.16, 0.14),
          ("teddy", "rings")),
        # Dark and strong light.
        p("test_09", "walnut", "shelf:cream_wall", "evening", 0.32, 30, 20, (-0.08, 0.06),
          ("cup:blue", "book:red"), stops=-0.6),
        p("test_10", "carpet", "wall:blue_wall", "dusk", 0.30, -70, 30, (0.08, 0.04),
          ("ball:green",), stops=-0.9),
        p("test_11", "granite", "wall:white_wall", "strong", 0.36, 65, 24, (0.0, 0.04),
          ("tin:violet", "apple:lime")),
        p("test_12", "cork", "room", "flash", 0.38, -15, 28, (-0.06, 0.03), ("lemon",)),
        # Small ducks.
        p("test_13", "oak", "shelf:green_wall", "window_left", 0.13, 50, 22, (-0.22, 0.0),
          ("teddy", "ball:yellow", "car:red", "rings"), blur=0.006),
        p("test_14", "concrete", "wall:bricks", "sun", 0.11, -40, 18, (0.2, 0.05),
          ("plain_ball:yellow", "bottle:blue", "block:orange"), blur=0.006),
        p("test_15", "chess_tiles", "wall:cream_wall", "window_right", 0.12, 140, 34, (0.12, -0.1),
          ("banana", "cup:yellow", "book:blue"), blur=0.006),
        p("test_16", "pink_paper", "room", "studio", 0.14, -95, 48, (-0.2, 0.12),
          ("star:yellow", "brick:yellow", "block:green", "apple:red"), blur=0.006, stops=0.35),
        # Two or three ducks.
        p("test_17", "white_tiles", "wall:blue_wall", "window_left", 0.26, 20, 28, (-0.18, 0.08),
          ("bottle:yellow",), 2, stops=0.4),
        p("test_18", "pine", "room", "window_front", 0.22, -60, 32, (0.16, 0.1),
          ("block:yellow",), 3),
        p("test_19", "grass", "garden", "overcast", 0.22, 70, 30, (-0.14, 0.1),
          ("plain_ball:red",), 2),
        p("test_20", "linen", "wall:stripes", "lamp", 0.20, 170, 36, (0.1, 0.12),
          ("lemon", "ball:pink"), 3),
        p("test_21", "marble", "room", "window_right", 0.13, -10, 26, (-0.2, -0.04),
          ("cup:yellow", "car:green", "teddy"), 2, blur=0.006, stops=0.2),
        # Partly hidden.
        p("test_22", "gingham", "room", "window_right", 0.33, 35, 18, (0.02, 0.02),
          ("lemon",), hidden="cup:white"),
        p("test_23", "deck", "garden", "sun", 0.30, -65, 20, (0.05, 0.02),
          ("star:yellow",), hidden="block:blue"),
        p("test_24", "cork", "shelf:blue_wall", "lamp", 0.32, 130, 24, (-0.05, 0.02),
          ("tin:yellow",), hidden="teddy"),
        # No duck at all.
        p("test_25", "oak", "room", "window_left", 0.30,
          toys=("plain_ball:yellow", "cup:yellow", "block:red"), ducks=0, blur=0.007),
        p("test_26", "white_tiles", "wall:white_wall", "window_left", 0.28,
          toys=("lemon", "lemon", "banana"), ducks=0, raised=40, blur=0.006, stops=0.4),
        p("test_27", "carpet", "shelf:cream_wall", "lamp", 0.30,
          toys=("teddy", "star:yellow", "block:yellow"), ducks=0, blur=0.007),
        p("test_28", "grass", "garden", "sun", 0.30,
          toys=("ball:yellow",), ducks=0, raised=26, blur=0.007),
        p("test_29", "paper", "room", "studio", 0.26,
          toys=("car:yellow", "brick:orange", "rings", "apple:red"), ducks=0, raised=50,
          blur=0.007),
        p("test_30", "walnut", "shelf:blue_wall", "evening", 0.30,
          toys=("lemon", "tin:yellow", "banana", "book:orange"), ducks=0, raised=30, blur=0.007),
    ]  # fmt: skip


CLIP_FRAMES = 48
CLIP_WH = (640, 480)
CLIP_PLACE = ("oak", "room", "window_left")  # surface, backdrop, light

CLIP_THINGS = [
    Placed("duck", "", 0.0, 0.0, -125.0),
    Placed("teddy", "", -1.75, 0.75, -60.0),
    Placed("cup", "yellow", 1.7, 1.0, 30.0),
    Placed("block", "red", -1.35, -1.2, 15.0),
    Placed("block", "green", -0.55, 1.75, 50.0),
    Placed("lemon", "", 1.25, -1.35, 70.0),
    Placed("car", "blue", 1.1, 2.1, 160.0),
    Placed("rings", "", 2.9, -0.9, 0.0),
    Placed("plain_ball", "orange", -3.0, -0.6, 0.0),
]


def clip_camera(frame: int) -> Camera:
    """The camera walks round the duck, comes nearer and rises, with a slight hand shake."""
    t = frame / (CLIP_FRAMES - 1)
    ease = t * t * (3 - 2 * t)
    around = -48 + 150 * ease
    share = 0.19 + 0.17 * np.sin(np.pi * (0.12 + 0.72 * t)) ** 2 + 0.03 * t
    raised = 36 + 9 * np.sin(2 * np.pi * t) - 6 * t
    shake = np.array(
        [np.sin(2.1 * frame) + np.sin(0.83 * frame), np.sin(1.7 * frame + 1) + np.sin(0.61 * frame)]
    )
    at_uv = np.array([0.10 * np.sin(2 * np.pi * t), 0.04 - 0.05 * np.cos(3 * t)]) + 0.0022 * shake
    return aim(share, raised, around, tuple(at_uv), CLIP_WH, blur=0.010)
