"""Calibration of a cohort's parameters to published numbers.

Knows the simulator; the simulator knows nothing of it.
"""
