"""What a run leaves and how it is judged: records, changes, health, archive, files, events, output formats.

Imported by `engine`, `app` and above; imports `politeness` and below.
"""
