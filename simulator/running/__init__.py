"""Scenarios, draws and replicates in blocks, to one tree."""
