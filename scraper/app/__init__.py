"""The composition root: picks the implementations, runs a spider from its start to its verdict."""
