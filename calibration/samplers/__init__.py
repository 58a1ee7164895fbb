"""Samplers, one small file an algorithm. Know a log density; know nothing of parameters or papers."""
