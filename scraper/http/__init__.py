"""HTTP as this project speaks it: the domain's session, its connections, cookies and caching.

Imported by the engine and above; imports `politeness`, `parsing`, `ops` and below.
"""
