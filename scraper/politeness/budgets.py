"""Budgets: how many pages a run may ask for on a domain, below a path, or on from one request."""

from collections.abc import Mapping

from scraper.urls import host_of

ALL = "*"
MOST_BUDGETS = 1000  # of one domain in a run; a spider may make one for each link of a page


def budgets_of(
    url: str, domain: str, pages_per_domain: Mapping[str, int], own: tuple[int, str] | None = None
) -> dict[str, int]:
    """The budgets that a page counts against, by name: of a domain, of a path there, of its request.

    `pages_per_domain`: by domain or host, `*` for all others, or by one of these and the beginning of a path.
    """
    found: dict[str, int] = {}
    host = host_of(url)
    path = url.partition("://")[2].partition("/")[2].partition("#")[0]
    for name, most in pages_per_domain.items():
        where, _, start = name.partition("/")
        if where in (host, domain) and path.startswith(start):
            found[name] = most
    if ALL in pages_per_domain and not (domain in found or host in found):
        found[ALL] = pages_per_domain[ALL]
    if own is not None:
        found[f"budget of {own[1]}"] = own[0]
    return found


def refusal(budgets: Mapping[str, int], spent: Mapping[str, int]) -> str:
    """Why a page is not asked for; empty where every budget of it has room."""
    for name, most in budgets.items():
        if spent.get(name, 0) >= most:
            told = "pages_per_domain" if name == ALL else name
            return f"over budget: {told}: {most} pages"
        if name not in spent and len(spent) >= MOST_BUDGETS:
            return f"over budget: more than {MOST_BUDGETS:,} budgets on one domain"
    return ""
