"""Numeric kernels: elementary functions, uniforms by address, hazards, quantiles."""
