"""Searches of a posterior, and summaries of weighted draws."""
