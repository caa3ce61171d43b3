"""Pure measurement: scores, calibration, review threshold. NumPy only."""
