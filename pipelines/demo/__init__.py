"""The story of one model's life, told on real data by the very functions that `mlops` uses."""
