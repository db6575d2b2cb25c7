"""Count what crosses a line and what is in a zone of a video: python zones.py RUN VIDEO."""

import sys

import numpy as np
import supervision as sv

import duckdetect as dd
from duckdetect.video.reader import read_video
from duckdetect.video.tracking import Tracker

detector, video = dd.load_detector(sys.argv[1]), read_video(sys.argv[2])
height, width = video.size_hw
tracker = Tracker(detector.threshold)
line = sv.LineZone(sv.Point(width // 2, 0), sv.Point(width // 2, height))  # in: to the right
zone = sv.PolygonZone(np.array([[0, 0], [width // 2, 0], [width // 2, height], [0, height]]))
for frame in video.frames():
    found = tracker.update(detector.predict(frame.image, tracker.low), float(frame.seconds))
    line.trigger(found)
    zone.trigger(found)
    print(f"{line.in_count} in, {line.out_count} out, {zone.current_count} in the zone")
