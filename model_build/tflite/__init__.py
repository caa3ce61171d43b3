"""One ``.tflite`` file: what it tells of itself, and how it runs and how fast, through the function's own code."""
