"""Fitting each reading of the evidence, and truncation to what the model can produce."""
