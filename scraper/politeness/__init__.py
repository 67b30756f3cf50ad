"""The rules of conduct as pure functions: robots.txt, delay, retry, scope, blocks, page directives.

Imported by `parsing`, `http`, `engine` and above; imports `ops`, `urls`, `model`.
"""
