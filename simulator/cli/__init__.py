"""Hydra's edge: arguments, messages, exit codes."""
