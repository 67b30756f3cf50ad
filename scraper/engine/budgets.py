"""Budgets while a run goes on: what is spent is the domain's own count, and what is in flight counts too."""

from collections.abc import Mapping

from scraper.engine.domain import Domain
from scraper.model import Entry
from scraper.politeness import budgets
from scraper.spider.identity import request_of


class Budgets:
    """Which URLs of a domain are over a budget. Where there is none nothing is looked at."""

    def __init__(self, pages_per_domain: Mapping[str, int]) -> None:
        self._pages_per_domain = pages_per_domain

    def refusal(self, domain: Domain, entry: Entry) -> str:
        """Why a URL is not asked for in this run; empty where it may be."""
        return budgets.refusal(self._of(domain, entry), domain.stats.spent)

    def has_room(self, domain: Domain, entry: Entry) -> bool:
        """Whether there is room for a URL whatever becomes of those in flight."""
        spent, taken = domain.stats.spent, domain.taken
        return all(spent.get(name, 0) + taken[name] < most for name, most in self._of(domain, entry).items())

    def take(self, domain: Domain, entry: Entry) -> None:
        """Note that a URL is on its way."""
        for name in self._of(domain, entry):
            domain.taken[name] += 1

    def give_back(self, domain: Domain, entry: Entry, *, is_spent: bool) -> None:
        """Note that a URL is on its way no more, and whether it was asked for."""
        for name in self._of(domain, entry):
            domain.taken[name] -= 1
            if is_spent:
                domain.stats.spent[name] = domain.stats.spent.get(name, 0) + 1

    def _of(self, domain: Domain, entry: Entry) -> Mapping[str, int]:
        is_named = entry.request is not None and '"budget"' in entry.request
        if not is_named and not self._pages_per_domain:
            return {}
        own = request_of(entry).budget if is_named else None
        named = own if isinstance(own, tuple) else None
        return budgets.budgets_of(entry.url, domain.name, self._pages_per_domain, named)
