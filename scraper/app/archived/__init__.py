"""Pages of the archive parsed once more, without one request."""
