"""The machine that a run lives on: its clock and disk, cron and systemd, messages to people.

Imports only `model` and `errors`; anyone may import it.
"""
