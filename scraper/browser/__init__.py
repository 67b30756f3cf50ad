"""Pages rendered by a browser that has no network of its own: what it asks for is handed to us.

`tasks` has the values that pass between the two, `browser` the browser itself, on a thread of its own, `tab`
one rendering in it, `chromium` how it is found and started, `guard` the process that it never outlives.
Nothing here is imported by a run that renders nothing; only `browser` and `tab` know Playwright.
"""
