import pytest

from scraper.model import Headers
from scraper.politeness.ratelimit_fields import Quota, rate_limits

NOW = 1710072000.0


def told(**fields: str) -> list[Quota]:
    return rate_limits(Headers([(name.replace("_", "-"), value) for name, value in fields.items()]), NOW)


def test_the_draft_field_names_policy_rest_and_reset() -> None:
    assert told(RateLimit='"hourly";r=12;t=40') == [Quota("hourly", 12, 40)]


def test_a_policy_adds_quota_and_window_to_its_state() -> None:
    quotas = told(RateLimit='"a";r=1;t=5', RateLimit_Policy='"b";q=9;w=90, "a";q=10;w=60')
    assert quotas == [Quota("a", 1, 5, 10, 60), Quota("b", quota=9, window=90)]


def test_a_policy_name_may_hold_separators() -> None:
    assert told(RateLimit='"a,b;c";r=3;t=6') == [Quota("a,b;c", 3, 6)]


def test_quotas_of_bytes_are_not_quotas_of_requests() -> None:
    policy = '"size";q=1000;qu="content-bytes";w=10, "n";q=5;w=10'
    assert told(RateLimit='"size";r=0;t=10, "n";r=2;t=10', RateLimit_Policy=policy) == [
        Quota("n", 2, 10, 5, 10)
    ]


def test_the_dictionary_form_is_read_with_its_unnamed_policy() -> None:
    quotas = told(RateLimit="limit=100, remaining=7, reset=30", RateLimit_Policy="100;w=60")
    assert quotas == [Quota(None, 7, 30, 100, 60)]


def test_the_three_field_form_is_read() -> None:
    quotas = told(RateLimit_Limit="10, 10;w=1", RateLimit_Remaining="4", RateLimit_Reset="2")
    assert quotas == [Quota(None, 4, 2, 10)]


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("45", 45),
        ("45.5", 45.5),
        (str(int(NOW) + 90), 90),
        (str((int(NOW) + 90) * 1000), 90),
        (str(int(NOW) - 90), 0),
        ("Sun, 10 Mar 2024 12:01:30 GMT", 90),
        ("999999999", None),
        ("99999999999999999999", None),
        ("nan", None),
        ("inf", None),
        ("-5", None),
        ("1e9", None),
        ("", None),
    ],
)
def test_a_reset_may_be_delta_epoch_or_date_but_never_nonsense(reset: str, seconds: float | None) -> None:
    assert told(X_RateLimit_Remaining="3", X_RateLimit_Reset=reset) == [Quota(None, 3, seconds)]


def test_other_spellings_of_the_old_fields_are_read() -> None:
    assert told(X_Rate_Limit_Remaining="3.0", X_Rate_Limit_Reset="9") == [Quota(None, 3, 9)]
    assert told(X_RateLimit_Remaining="3", X_RateLimit_Reset_After="1.5", X_RateLimit_Reset="1") == [
        Quota(None, 3, 1.5)
    ]
    # As of hapi-rate-limit 8.0.0, which documents milliseconds and sends a moment in them.
    reset = str((int(NOW) + 25) * 1000)
    assert told(X_RateLimit_UserRemaining="0", X_RateLimit_UserReset=reset) == [Quota(None, 0, 25)]


@pytest.mark.parametrize(
    "value",
    ["", ";;;", '"', '"a";r=-1;t=5', '"a";r=x', "remaining=-1", "=", ",,,", "\x00", '"a";r=' + "9" * 99],
)
def test_garbage_tells_nothing(value: str) -> None:
    assert told(RateLimit=value) == []
    assert told(X_RateLimit_Remaining=value, X_RateLimit_Reset=value) == []


def test_hostile_fields_stay_bounded() -> None:
    quotas = told(
        RateLimit=",".join(f'"p{n}";r={n};t=5' for n in range(2000)), RateLimit_Policy="1;w=1," * 999
    )
    assert len(quotas) <= 40
