"""Latent values from observed ones: baseline hazards, mixtures, mediation by response."""
