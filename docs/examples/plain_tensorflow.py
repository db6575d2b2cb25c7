"""A run's detector in plain TensorFlow: python plain_tensorflow.py results/duck/detector a.jpg"""

import json
import sys
from pathlib import Path

import tensorflow as tf

folder, picture = sys.argv[1:]
detect = tf.saved_model.load(folder).signatures["serving_default"]
settings = json.loads(Path(folder, "detector.json").read_text(encoding="utf-8"))
image = tf.io.decode_image(tf.io.read_file(picture), channels=3, expand_animations=False)
found = {name: values.numpy() for name, values in detect(image=image).items()}
for box, score, k in zip(found["boxes"], found["scores"], found["class_ids"], strict=True):
    if score >= settings["threshold"]:
        print(settings["classes"][k], f"{score:.3f}", *box.round(1))
