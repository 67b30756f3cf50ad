"""The verdict on a run: the worst finding wins, and every finding says what was measured against what."""

import json
from typing import Any

import pytest

from scraper.errors import SpiderError
from scraper.model import Verdict
from scraper.runs.health import Facts, Fill, Health, declared
from scraper.runs.judgement import judge


def ok_run(records: int = 100, **fill: float) -> dict[str, Any]:
    return {"run_id": "r", "verdict": "OK", "records": records, "fill": fill}


FIVE = [ok_run(price=0.98, title=1.0)] * 5


def test_a_first_run_with_records_is_ok_and_has_no_reasons() -> None:
    assert judge(Facts(pages=10, records=10)) == judge(Facts(unchanged=3, records=3))
    assert judge(Facts(pages=10, records=10)).verdict is Verdict.OK
    assert judge(Facts(pages=10, records=10)).reasons == ()


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        (Facts(pages=8), Verdict.EMPTY, "no records in 8 pages"),
        (Facts(pages=1), Verdict.EMPTY, "no records in the one page"),
        (
            Facts(pages=1, denied={"nofollow": 25}),
            Verdict.EMPTY,
            "no records in the one page, and 25 URLs are denied: nofollow",
        ),
        (Facts(), Verdict.EMPTY, "no page was fetched and no record found"),
        (
            Facts(pages=8, records=8, filled={"name": 0, "price": 0}),
            Verdict.EMPTY,
            "8 records with nothing in any field: name, price",
        ),
        (Facts(gone=1), Verdict.EMPTY, "no page was fetched and no record found, the one URL is gone"),
        (Facts(denied={"robots.txt: /": 1}), Verdict.EMPTY, "no URL may be fetched: robots.txt: /"),
        (
            Facts(failures={"connection refused": 1}, down={"a.example": "connection refused"}),
            Verdict.BROKEN,
            "a.example is UNREACHABLE: connection refused",
        ),
        (
            Facts(down={"a.example": "robots.txt answered 503"}),
            Verdict.BROKEN,
            "a.example is UNREACHABLE: robots.txt answered 503",
        ),
        (
            Facts(failures={"HTTP 500": 3, "timed out": 1}),
            Verdict.BROKEN,
            "no page could be fetched, 4 failed: HTTP 500 (3), timed out (1)",
        ),
        (
            Facts(pages=8, records=8, errors={"KeyError: 'price'": 2}),
            Verdict.BROKEN,
            "the spider's code raised on 20 % of the pages (2 of 10), at most 10 % may: KeyError: 'price'",
        ),
        (
            Facts(pages=10, records=10, refused={"a.example": 5}),
            Verdict.BLOCKED,
            "5 of 15 URLs were refused by their site: a.example (5)",
        ),
        (
            Facts(pages=5, records=5, auth={"a.example": "HTTP 403"}),
            Verdict.AUTH,
            "the login at a.example failed: HTTP 403",
        ),
        (Facts(pages=5, records=5, stopped="SIGTERM"), Verdict.INCOMPLETE, "stopped before the end: SIGTERM"),
        (Facts(pages=5, records=5, deferred=3), Verdict.INCOMPLETE, "3 URLs are left for the next run"),
        (
            Facts(pages=8, records=8, failures={"HTTP 500": 2}),
            Verdict.DEGRADED,
            "20 % of the pages failed (2 of 10), at most 10 % may: HTTP 500",
        ),
        (
            Facts(pages=8, records=8, domains=2, down={"b.example": "unknown host"}),
            Verdict.DEGRADED,
            "b.example is UNREACHABLE: unknown host",
        ),
    ],
)
def test_a_finding_gives_its_verdict_and_one_sentence(facts: Facts, verdict: Verdict, reason: str) -> None:
    found = judge(facts)
    assert (found.verdict, found.reasons) == (verdict, (reason,))


def test_a_fall_below_max_drop_counts_where_pages_bring_nothing_any_more() -> None:
    history = [{"records": 500}] * 5
    assert judge(Facts(pages=40, records=260), history).verdict is Verdict.OK
    found = judge(
        Facts(pages=40, records=260, emptied=1, emptied_example="https://a.example/l?p=10"), history
    )
    assert found.verdict is Verdict.DEGRADED
    assert found.reasons[0].startswith("260 records, 500 in the five runs before: 1 page brings nothing")
    assert found.reasons[0].endswith("e.g. https://a.example/l?p=10")
    assert judge(Facts(pages=40, records=460, emptied=1), history).verdict is Verdict.OK
    assert "1 page brings nothing" in judge(Facts(pages=4, records=40, emptied=1), history).reasons[0]


def test_a_small_site_from_which_a_page_with_its_one_record_is_gone_is_ok() -> None:
    history = [{"records": 6}] * 5
    assert judge(Facts(pages=6, records=5, emptied=1), history).verdict is Verdict.OK
    assert judge(Facts(pages=6, records=4, emptied=1), history).verdict is Verdict.DEGRADED


@pytest.mark.parametrize(
    "facts",
    [
        Facts(pages=9, records=9, errors={"KeyError": 1}),
        Facts(pages=9, records=9, failures={"HTTP 500": 1}),
        Facts(pages=90, records=9, refused={"a.example": 10}),
        Facts(pages=90, records=9, domains=300, down={"a.example": "unknown host"}),
        Facts(pages=90, records=9, denied={"robots.txt": 500}, gone=9),
        Facts(pages=4, records=4, gone=2),
        Facts(pages=90, records=90, repeated=8),
    ],
)
def test_a_few_failures_are_every_days_weather(facts: Facts) -> None:
    assert judge(facts).verdict is Verdict.OK


def test_every_finding_is_told_worst_first() -> None:
    facts = Facts(
        pages=5, records=1, auth={"a.example": "no"}, refused={"b.example": 9}, errors={"ValueError": 5}
    )
    found = judge(facts, FIVE)
    assert found.verdict is Verdict.AUTH
    starts = ("the login", "9 of 19 URLs", "the spider's code", "1 records, 100")
    assert [reason.startswith(start) for reason, start in zip(found.reasons, starts, strict=False)] == [
        True
    ] * 4


def test_fewer_records_than_half_the_median_are_degraded() -> None:
    history = [ok_run(n) for n in (100, 5, 110, 90, 1000)]
    assert judge(Facts(pages=1, records=50), history).verdict is Verdict.OK
    found = judge(Facts(pages=1, records=49), history)
    assert found.verdict is Verdict.DEGRADED and found.reasons == ("49 records, 100 in the five runs before",)


def test_only_the_last_five_runs_count() -> None:
    assert judge(Facts(pages=1, records=10), [*[ok_run(10)] * 5, *[ok_run(1000)] * 50]).verdict is Verdict.OK


def test_with_fewer_runs_before_those_are_named() -> None:
    assert judge(Facts(pages=1, records=1), [ok_run(9)]).reasons == ("1 records, 9 in the run before",)
    assert judge(Facts(pages=1, records=1), [ok_run(9), ok_run(10)]).reasons == (
        "1 records, 9.5 in the two runs before",
    )


def test_a_field_filled_less_than_before_is_degraded() -> None:
    found = judge(Facts(pages=9, records=100, filled={"price": 3, "title": 100}), FIVE)
    assert found.verdict is Verdict.DEGRADED
    assert found.reasons == ("price filled in 3 % of records, 98 % in the five runs before",)


def test_a_field_that_is_no_more_is_filled_in_none() -> None:
    found = judge(Facts(pages=9, records=100, filled={"title": 100}), FIVE)
    assert found.reasons == ("price filled in 0 % of records, 98 % in the five runs before",)


def test_a_field_that_is_seldom_filled_may_vary() -> None:
    history = [ok_run(100, note=0.02)] * 5
    assert judge(Facts(pages=9, records=100, filled={"note": 0, "name": 100}), history).verdict is Verdict.OK
    many = Facts(pages=9, records=10_000, filled={"note": 0, "name": 10_000})
    assert judge(many, history).verdict is Verdict.DEGRADED


def test_a_new_field_and_a_fuller_one_are_fine() -> None:
    assert judge(Facts(pages=9, records=100, filled={"price": 100, "title": 100, "x": 1}), FIVE).reasons == ()


def test_many_empty_fields_are_summed_up() -> None:
    history = [ok_run(100, **{f"f{n}": 1.0 for n in range(50)})]
    reasons = judge(Facts(pages=9, records=100), history).reasons
    assert len(reasons) == 6 and reasons[-1] == "45 more fields are filled less than they should be"


def test_what_the_spider_declares_is_asked_for() -> None:
    health = Health(min_records=20, required=("price",), max_failed=0.2)
    found = judge(Facts(pages=9, records=10, filled={"price": 7}), health=health)
    assert found.verdict is Verdict.DEGRADED
    assert found.reasons == (
        "10 records, the spider asks for at least 20",
        "price filled in 70 % of records, and it is required",
    )
    assert judge(Facts(pages=9, records=20, filled={"price": 16}), health=health).verdict is Verdict.OK


def test_empty_can_be_fine_but_only_where_pages_answered() -> None:
    health = Health(allow_empty=True, min_records=5)
    assert judge(Facts(pages=3), FIVE, health).verdict is Verdict.OK
    assert judge(Facts(), FIVE, health).verdict is Verdict.EMPTY


def test_a_limit_of_this_run_explains_its_small_totals_but_not_its_empty_fields() -> None:
    facts = Facts(pages=2, records=2, filled={"price": 2, "title": 2}, is_limited=True)
    assert judge(facts, FIVE, Health(min_records=50)).verdict is Verdict.OK
    facts = Facts(pages=2, records=2, filled={"title": 2}, is_limited=True)
    assert judge(facts, FIVE).verdict is Verdict.DEGRADED


@pytest.mark.parametrize(
    "facts", [Facts(stopped="SIGINT"), Facts(deferred=1), Facts(pages=5, records=1, stopped="SIGINT")]
)
def test_few_records_prove_nothing_while_work_is_left(facts: Facts) -> None:
    assert judge(facts, FIVE, Health(min_records=50, required=("x",))).verdict is Verdict.INCOMPLETE


def test_what_is_worse_is_known_of_an_unfinished_run_too() -> None:
    found = judge(Facts(errors={"KeyError": 5}, stopped="SIGINT"))
    assert found.verdict is Verdict.BROKEN and len(found.reasons) == 2


def test_a_long_list_of_domains_is_shortened() -> None:
    reasons = judge(Facts(down={f"{n}.example": "unknown host" for n in range(300)})).reasons
    assert len(reasons) == 3 and reasons[-1].endswith("unknown host (and 297 more domains)")
    (reason,) = judge(Facts(refused={f"{n}.example": 1 for n in range(300)})).reasons
    assert reason.endswith(" and 297 more")


@pytest.mark.parametrize(
    "odd", [{}, {"records": None}, {"records": 0}, {"records": 5}, {"records": 5, "fill": None}]
)
def test_summaries_of_older_versions_are_no_obstacle(odd: dict[str, Any]) -> None:
    assert judge(Facts(pages=9, records=5, filled={"a": 5}), [odd] * 3).verdict is Verdict.OK


def test_a_share_near_none_or_all_is_not_called_none_or_all() -> None:
    history = [ok_run(10_000, price=0.999)] * 5
    found = judge(Facts(pages=9, records=10_000, filled={"price": 1}), history)
    assert found.reasons == ("price filled in 0.01 % of records, over 99 % in the five runs before",)


def test_fill_counts_what_is_not_empty() -> None:
    fill = Fill()
    for value in (1, 0, False, "x", 0.0, [0], {"a": None}, None, "", " \n", [], {}):
        fill.add(json.dumps({"a": value, "b": None}))
    assert (fill.records, fill.filled) == (12, {"a": 7, "b": 0})
    assert fill.rates() == {"a": 0.5833, "b": 0.0}


def test_fill_of_several_workers_adds_up() -> None:
    one, other = Fill(), Fill(3, {"a": 1, "b": 2})
    one.add('{"a": 1}')
    one.merge(other)
    assert (one.records, one.filled) == (4, {"a": 2, "b": 2})
    assert Fill().rates() == {}


def test_fields_that_a_site_invents_do_not_fill_the_memory() -> None:
    fill = Fill()
    for n in range(5_000):
        fill.add(json.dumps({f"field {n}": 1}))
    assert len(fill.filled) == 1_000 and fill.records == 5_000


def test_health_is_read_as_declared() -> None:
    given = {"min_records": 100, "max_drop": 0.3, "max_failed": 0, "required": ["price"], "allow_empty": True}
    assert declared(given) == Health(100, 0.3, 0.0, ("price",), True)
    assert declared({}) == Health()


def test_every_mistake_in_health_is_told_at_once() -> None:
    with pytest.raises(SpiderError) as caught:
        declared(
            {
                "min_record": 1,
                "max_drop": 50,
                "required": "price",
                "allow_empty": "perhaps",
                "min_records": -1,
            }
        )
    for expected in (
        "min_record: not known; did you mean min_records?",
        "max_drop = 50: expected a share between 0 and 1",
        "required = 'price': expected a list of fields",
        "allow_empty = 'perhaps': expected true or false",
        "min_records = -1: expected a whole number",
    ):
        assert expected in str(caught.value)


@pytest.mark.parametrize("odd", [None, [], "min_records"])
def test_health_that_is_no_dict_is_refused(odd: Any) -> None:
    with pytest.raises(SpiderError, match="must be a dict"):
        declared(odd)


def test_records_that_are_not_as_declared_are_told_where_they_are_many() -> None:
    found = judge(Facts(pages=3, records=1, rejected=2, rejected_example="https://a.test/: price is 'x'"))
    assert found.verdict is Verdict.DEGRADED
    told = "67 % of the records are not kept (2), at most 10 % may, e.g. https://a.test/: price is 'x'"
    assert found.reasons[0] == told
    assert judge(Facts(pages=99, records=98, rejected=1)).verdict is Verdict.OK
