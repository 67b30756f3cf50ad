"""What keeps a project running: audit, doctor, cookies, new spiders, the current records."""
