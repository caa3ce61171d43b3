"""A run becomes ``.tflite`` files, each measured in the interpreter that serves; one of them wins."""
