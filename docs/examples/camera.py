"""Detect on a camera with an exported file, on a Raspberry Pi or any computer: q ends it.

pip install -r docs/examples/requirements-pi.txt && python camera.py duck.tflite 0
The second word is the camera's number, or a video file or stream as OpenCV reads it.
"""

import sys

import cv2
import supervision as sv

import duckdetect as dd

detector = dd.load_detector(sys.argv[1])
source = sys.argv[2] if len(sys.argv) > 2 else "0"
camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
boxes, labels = sv.BoxAnnotator(), sv.LabelAnnotator()
while True:
    ok, frame = camera.read()
    if not ok:
        sys.exit(f"no more pictures from {source}; check a camera's number (0, 1, ...) and cable")
    found = detector.predict(frame[:, :, ::-1].copy())  # OpenCV has blue first
    names = [f"{n} {s:.2f}" for n, s in zip(found["class_name"], found.confidence, strict=True)]
    cv2.imshow("duckdetect", labels.annotate(boxes.annotate(frame, found), found, names))
    if cv2.waitKey(1) == ord("q"):
        break
