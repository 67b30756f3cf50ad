"""One URL outside a run: fetched, rendered, or explained without a request."""
