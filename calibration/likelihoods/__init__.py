"""Likelihood terms of published figures: closed forms and simulation."""
