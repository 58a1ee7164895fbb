"""What data and assumptions say of each parameter, and how well the model fits."""
