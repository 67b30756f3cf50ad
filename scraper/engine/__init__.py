"""The crawl loop and its parts: leases, scheduling, fetching, throttling, group commit.

Imported by `app` and above; imports everything below, and knows no concrete store.
"""
