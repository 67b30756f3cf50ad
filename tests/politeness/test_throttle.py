import pytest

from scraper.model import Deferred, Exchange
from scraper.politeness.limit import Limit
from scraper.politeness.throttle import (
    Pace,
    State,
    active_hours,
    after,
    decide,
    failed,
    from_json,
    is_ended,
    is_parked,
    next_at,
    pace,
    recovered,
    refused,
    rest,
    succeeded,
    to_json,
    until_open,
    width,
)

T = 1000.0
ANSWERED = Exchange(sent_at=T, first_byte_at=T + 2, ended_at=T + 5, status=200)
UNANSWERED = Exchange(sent_at=T, first_byte_at=0.0, ended_at=T + 5)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, Pace(1, "setting delay 1 s")),
        ({"crawl_delay": 10.0}, Pace(10, "robots Crawl-delay 10 s")),
        ({"crawl_delay": 0.5}, Pace(1, "setting delay 1 s")),
        ({"delay_factor": 1.0, "elapsed": 2.1}, Pace(2.1, "delay_factor 1 x last response 2.1 s")),
        ({"request_interval": 5.0, "crawl_delay": 2.0}, Pace(5, "robots Request-rate 1/5s")),
        ({"quota_interval": 20.0}, Pace(20, "RateLimit, one request per 20 s")),
        (
            {"delay_factor": 9.0, "elapsed": 30.0, "max_delay": 120.0},
            Pace(120, "delay_factor 9 x last response 30.0 s"),
        ),
    ],
)
def test_the_longest_delay_wins_and_is_named(rules: dict[str, float], expected: Pace) -> None:
    assert pace(1.0, **rules) == expected


def test_a_delay_of_nothing_is_allowed() -> None:
    assert pace(0.0) == Pace(0.0, "setting delay 0 s")


def test_the_next_request_is_due_a_delay_after_the_first_byte() -> None:
    state = after(State(), ANSWERED, 1.0)
    assert (state.due, state.sent_at, state.elapsed) == (T + 3, T, 2)


def test_a_request_without_an_answer_counts_from_its_end() -> None:
    assert after(State(elapsed=0.3), UNANSWERED, 1.0).due == T + 6
    assert after(State(elapsed=0.3), UNANSWERED, 1.0).elapsed == 0.3
    assert after(State(), UNANSWERED, 1.0, concurrency=4).due == T + 6


def test_with_several_in_the_air_the_starts_are_spaced() -> None:
    assert after(State(), ANSWERED, 1.0, concurrency=4).due == T + 1


def test_a_late_answer_never_brings_the_next_slot_forward() -> None:
    assert after(State(due=T + 50), ANSWERED, 1.0).due == T + 50


def test_a_rest_covers_the_domain_and_a_shorter_one_does_not_end_it() -> None:
    state = rest(rest(State(due=T), T + 600, "Retry-After 600 s"), T + 10, "backoff")
    assert next_at(state) == T + 600
    assert state.reason == "Retry-After 600 s"


def test_the_wait_is_what_is_left_to_the_slot() -> None:
    assert decide(State(due=T + 3), Pace(1, ""), T, 120, 300) == 3
    assert decide(State(due=T - 3), Pace(1, ""), T, 120, 300) == 0


def test_a_site_that_asks_for_a_longer_delay_than_allowed_is_deferred() -> None:
    verdict = decide(State(), pace(1.0, crawl_delay=600.0), T, 120, 300)
    assert isinstance(verdict, Deferred) and "Crawl-delay 600 s" in verdict.reason


def test_a_rest_longer_than_max_wait_is_deferred_with_its_reason() -> None:
    verdict = decide(rest(State(), T + 900, "Retry-After 900 s"), Pace(1, "x"), T, 120, 300)
    assert isinstance(verdict, Deferred) and "Retry-After 900 s" in verdict.reason


def test_failures_back_off_the_whole_domain() -> None:
    state = failed(State(), T, 4.0)
    assert (next_at(state), state.failures) == (T + 4, 1)


def open_breaker() -> State:
    state = State(delay=2.0)
    for _ in range(5):
        state = failed(state, T, 1.0)
    return state


def test_the_fifth_failure_in_a_row_opens_the_breaker() -> None:
    state = open_breaker()
    assert next_at(state) == T + 60
    assert state.reason == "5 failures in a row"


def test_each_failed_probe_doubles_the_rest_up_to_an_hour() -> None:
    state, rests = open_breaker(), []
    for _ in range(8):
        now = state.rest_until
        state = failed(state, now, 1.0)
        rests.append(state.rest_until - now)
    assert rests == [120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_after_three_times_an_open_breaker_is_left_to_another_run() -> None:
    state = open_breaker()
    for _ in range(2):
        assert not is_parked(state, state.rest_until - 1)
        state = failed(state, state.rest_until, 1.0)
    assert is_parked(state, state.rest_until - 1) and not is_parked(state, state.rest_until)


def test_in_trouble_one_request_at_a_time_probes_the_domain() -> None:
    assert width(open_breaker(), 8) == 1
    assert width(succeeded(open_breaker()), 8) == 8
    assert width(State(), 1) == 1


def test_a_success_closes_the_breaker_but_ends_no_rest() -> None:
    state = succeeded(rest(open_breaker(), T + 600, "Retry-After 600 s"))
    assert (state.failures, state.trips, state.refusals) == (0, 0, 0)
    assert next_at(state) == T + 600
    assert failed(state, T + 700, 1.0).rest_until == T + 701


def test_refusals_rest_the_domain_longer_each_time() -> None:
    first = refused(State(delay=3.0), T, "run-1", "403 Forbidden")
    second = refused(first, T + 100, "run-1", "403 Forbidden")
    assert (first.rest_until, second.rest_until) == (T + 30, T + 160)
    assert refused(State(delay=0.0), T, "run-1", "403 Forbidden").rest_until == T + 2
    assert first.reason == "403 Forbidden"


def test_three_refusals_in_a_row_end_the_domain_for_this_run_only() -> None:
    state = State()
    for n in range(3):
        assert not is_ended(state, "run-1")
        state = refused(state, T + n * 1000, "run-1", "403 Forbidden")
    assert is_ended(state, "run-1")
    assert not is_ended(state, "run-2")
    assert refused(state, T + 9000, "run-2", "403 Forbidden").refusals == 1


def test_a_success_between_refusals_starts_the_count_anew() -> None:
    state = refused(refused(State(), T, "r", "x"), T, "r", "x")
    assert not is_ended(refused(succeeded(state), T, "r", "x"), "r")


def test_failures_of_long_ago_are_forgotten_and_a_rest_is_not() -> None:
    state = open_breaker()
    assert recovered(state, state.rest_until + 600) == state
    assert recovered(state, state.rest_until + 3601).failures == 0
    resting = rest(state, T + 90_000, "Retry-After 90000 s")
    assert recovered(resting, T + 80_000) == resting


def test_the_state_survives_the_store() -> None:
    state = refused(after(open_breaker(), ANSWERED, 1.0), T, "run-1", "403 Forbidden")
    assert from_json(to_json(state)) == state


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"due": "soon", "failures": 1.5, "reason": 7, "other": 1}',
        '{"due": NaN, "rest_until": Infinity, "elapsed": -1, "trips": -2, "refusals": true}',
        '{"due": 1e400, "failures": 99999999999}',
    ],
)
def test_a_broken_state_is_a_new_one(text: str) -> None:
    assert from_json(text) == State()


def test_what_is_sound_in_a_broken_state_stands() -> None:
    assert from_json('{"due": 5, "failures": "many"}') == State(due=5.0)


@pytest.mark.parametrize(
    ("kept", "limit"),
    [
        ('{"interval": 2.5, "lessons": 1}', Limit(interval=2.5, lessons=1)),
        ('{"interval": 2.5, "of_a_newer_program": [1]}', Limit(interval=2.5)),
        ('{"interval": "slow", "lessons": 1}', Limit(lessons=1)),
        ("{}", Limit()),
        ("[2.5]", Limit()),
        ("null", Limit()),
    ],
)
def test_a_limit_that_another_version_has_learned_stands_as_far_as_it_is_known(
    kept: str, limit: Limit
) -> None:
    assert from_json(f'{{"due": 5, "limit": {kept}}}') == State(due=5.0, limit=limit)


def test_a_state_of_before_limits_were_learned_has_none() -> None:
    assert from_json('{"due": 5, "delay": 1.5}') == State(due=5.0, delay=1.5)


H = 3600


@pytest.mark.parametrize(
    ("text", "second", "wait"),
    [
        ("22:00-06:00", 23 * H, 0),
        ("22:00-06:00", 5 * H, 0),
        ("22:00-06:00", 6 * H, 16 * H),
        ("22:00-06:00", 12 * H, 10 * H),
        ("09:00-17:30", 8 * H, H),
        ("09:00-17:30", 18 * H, 15 * H),
        ("0600-0700, 12:00-13:00", 8 * H, 4 * H),
        ("00:00-24:00", 86399.5, 0),
        ("08:00-08:00", 3 * H, 0),
    ],
)
def test_outside_the_active_hours_the_wait_lasts_until_they_begin(
    text: str, second: float, wait: float
) -> None:
    assert until_open(active_hours(text), second) == wait


def test_without_active_hours_it_is_always_open() -> None:
    assert until_open((), 3 * H) == 0


@pytest.mark.parametrize(
    "text", ["", "night", "22-6", "25:00-26:00", "10:75-11:00", "22:00-06:00,", "24:01-05:00"]
)
def test_hours_that_no_clock_shows_are_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        active_hours(text)
