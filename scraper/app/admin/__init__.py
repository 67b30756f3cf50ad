"""Administration: audit, doctor, cookies, new spiders, tokens, the current records."""
