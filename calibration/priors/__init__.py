"""Priors as functions of standard normal scores."""
