"""What was published about a cohort: entries, statistics, checks, readings."""
