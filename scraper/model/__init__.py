"""What moves between the parts: frozen values without behaviour that matters. Every part may import it."""

from scraper.model.frontier import Entry, Known, NewUrl
from scraper.model.outcomes import (
    Deferred,
    Denied,
    Failed,
    Fetched,
    Outcome,
    RecordLine,
    Redirected,
    Refusal,
    Retry,
    Unchanged,
)
from scraper.model.request import SAVE, Render, Request
from scraper.model.response import Headers, Loaded, Rendered, Response
from scraper.model.verdict import Verdict
from scraper.model.visit import PLAIN, Exchange, Reaction, Rejection, Visit

__all__ = [
    "PLAIN",
    "SAVE",
    "Deferred",
    "Denied",
    "Entry",
    "Exchange",
    "Failed",
    "Fetched",
    "Headers",
    "Known",
    "Loaded",
    "NewUrl",
    "Outcome",
    "Reaction",
    "RecordLine",
    "Redirected",
    "Refusal",
    "Rejection",
    "Render",
    "Rendered",
    "Request",
    "Response",
    "Retry",
    "Unchanged",
    "Verdict",
    "Visit",
]
