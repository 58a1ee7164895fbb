"""Tree to pictures and printed tables. Computes no statistic."""
