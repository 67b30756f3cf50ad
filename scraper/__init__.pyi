from scraper.model import Request as Request
from scraper.parsing.page import Page as Page
from scraper.spider import Spider as Spider
from scraper.spider.record import Record as Record

__all__ = ["Page", "Record", "Request", "Spider"]
