"""What draws of the posterior predict."""
