"""From bytes to what a spider sees: encoding, page, forms, sitemaps.

Imported by `http`, `spider` and above; imports `politeness` and below.
"""
