"""One URL: fetched by hand, or explained without a request."""
