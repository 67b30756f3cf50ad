"""A run from its start to its verdict: this process or several workers, its files, its end."""
