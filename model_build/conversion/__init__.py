"""A run's network becomes ``.tflite`` files in every format; one of them wins."""
