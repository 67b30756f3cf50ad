from scraper.model import Request as Request
from scraper.page import Page as Page
from scraper.record import Record as Record
from scraper.spider import Spider as Spider

__all__ = ["Page", "Record", "Request", "Spider"]
