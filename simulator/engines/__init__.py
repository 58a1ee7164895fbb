"""Two engines that read tables and write trajectories."""
