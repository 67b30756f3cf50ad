"""When a login is renewed, and when given up: each page shows that we are known, or misses us."""

import pytest

from scraper.engine.login_state import MOST_VAIN, LoginState, Step


def walk(*moves: str) -> list[Step]:
    """`in`: a login went through; `+7`: page 7 was shown; `-7`: it missed us. The steps of those that did."""
    login_state = LoginState()
    steps = []
    for move in moves:
        if move == "in":
            login_state.renewed()
        elif move[0] == "+":
            login_state.shown(int(move))
        else:
            steps.append(login_state.missed(-int(move)))
    return steps


@pytest.mark.parametrize(
    ("moves", "steps"),
    [
        (("in", "+1", "-2"), "renew"),
        (("in", "+1", "-2", "in", "+2", "+3", "-4"), "renew renew"),
        # The same page may meet the end of two logins.
        (("in", "+1", "-2", "in", "+2", "-2", "in", "+2"), "renew renew"),
        # A session from an earlier run, whose login is over.
        (("-1", "in", "+1"), "renew"),
        # With several in flight all that were sent before the login miss us at once.
        (("in", "+1", "-2", "-3", "-4"), "renew renew renew"),
        # The login does not hold, with one page to try or with two.
        (("in", "-1", "-1"), "later give_up"),
        (("in", "-1", "-2"), "later give_up"),
        (("in", "+1", "-2", "in", "-2", "-3"), "renew later give_up"),
        # One page is not for us: others are, or it is the last one left.
        (("in", "+1", "-2", "in", "-2", "+3", "-2"), "renew later strange"),
        (("in", "+1", "-2", "in", "-2", "-2"), "renew later strange"),
    ],
)
def test_what_a_missed_page_means(moves: tuple[str, ...], steps: str) -> None:
    assert [step.name.lower() for step in walk(*moves)] == steps.split()


def test_pages_for_everybody_do_not_hide_for_ever_that_the_login_does_nothing() -> None:
    moves = ["in"]
    for page in range(10, 10 + MOST_VAIN):
        moves += ["+1", f"-{page}", "in", f"-{page}"]
    steps = walk(*moves, "+1", "-99")
    assert steps.count(Step.RENEW) == MOST_VAIN and steps[-1] is Step.GIVE_UP


def test_a_login_that_helps_again_and_again_is_never_given_up() -> None:
    moves = ["in"]
    for page in range(1, 100):
        moves += [f"-{page}", "in", f"+{page}"] if page > 1 else ["+1"]
    assert set(walk(*moves)) == {Step.RENEW}
