"""This project against a bare loop, Scrapy and Crawlee, on one loopback site: `python -m benchmarks`."""
