import pytest

from scraper.politeness.budgets import MOST_BUDGETS, budgets_of, refusal

URL = "https://www.example.org/blog/2026/one?x=1"
DOMAIN = "example.org"


@pytest.mark.parametrize(
    ("pages_per_domain", "found"),
    [
        ({}, []),
        ({"*": 9}, ["*"]),
        ({"*": 9, "example.org": 5}, ["example.org"]),
        ({"*": 9, "www.example.org": 5}, ["www.example.org"]),
        ({"*": 9, "example.org/blog/": 5}, ["example.org/blog/", "*"]),
        ({"example.org/blog/2025": 5, "other.example": 1, "news.example.org": 2}, []),
        ({"example.org": 5, "www.example.org/blog/": 3}, ["example.org", "www.example.org/blog/"]),
    ],
)
def test_a_page_counts_against_its_domain_and_what_its_path_begins_with(
    pages_per_domain: dict[str, int], found: list[str]
) -> None:
    assert list(budgets_of(URL, DOMAIN, pages_per_domain)) == found


def test_the_budget_of_a_request_counts_beside_the_others() -> None:
    assert budgets_of(URL, DOMAIN, {"*": 9}, (3, "shelf")) == {"*": 9, "budget of shelf": 3}


def test_a_spent_budget_is_named_with_its_size() -> None:
    assert refusal({"*": 2}, {"*": 1}) == ""
    assert refusal({"*": 2}, {"*": 2}) == "over budget: pages_per_domain: 2 pages"
    assert "budget of shelf: 3" in refusal({"*": 9, "budget of shelf": 3}, {"*": 3, "budget of shelf": 3})


def test_a_spider_cannot_make_budgets_without_end() -> None:
    spent = {str(n): 1 for n in range(MOST_BUDGETS)}
    assert refusal({"0": 2}, spent) == "" and "budgets" in refusal({"new": 2}, spent)
