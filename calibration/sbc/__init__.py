"""Simulation-based calibration: `python -m calibration.sbc`."""
