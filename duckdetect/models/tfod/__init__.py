"""The TF2 Object Detection API: nothing else imports it."""
