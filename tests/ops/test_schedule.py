"""Schedules: what cron would read, what it would misread, and what systemd makes of them."""

import pytest

from scraper.errors import UsageError
from scraper.ops.schedule import calendar, parse_schedule


class TestParsing:
    def test_each_field_becomes_its_numbers(self) -> None:
        schedule = parse_schedule("*/20 8-10,22 1 jan,JUL *")
        assert schedule.minutes == (0, 20, 40)
        assert schedule.hours == (8, 9, 10, 22)
        assert schedule.days == (1,)
        assert schedule.months == (1, 7)
        assert schedule.weekdays == (0, 1, 2, 3, 4, 5, 6)

    @pytest.mark.parametrize(
        ("days", "numbers"),
        [
            ("mon-fri", (1, 2, 3, 4, 5)),
            ("5-7", (0, 5, 6)),
            ("0,7", (0,)),
            ("Sat,sun", (0, 6)),
            ("*/2", (0, 2, 4, 6)),
        ],
    )
    def test_sunday_is_nought_and_seven(self, days: str, numbers: tuple[int, ...]) -> None:
        assert parse_schedule(f"0 0 * * {days}").weekdays == numbers

    def test_space_between_fields_does_not_matter(self) -> None:
        assert parse_schedule("  0\t3  * *  * ").text == "0 3 * * *"

    def test_nicknames_stand_for_their_fields(self) -> None:
        daily, fields = parse_schedule("@Daily"), parse_schedule("0 0 * * *")
        assert (daily.text, daily.minutes, daily.hours) == ("@daily", fields.minutes, fields.hours)
        assert parse_schedule("@weekly").weekdays == (0,)
        assert parse_schedule("@reboot").minutes == ()

    def test_a_day_of_the_month_and_of_the_week_mean_either(self) -> None:
        assert parse_schedule("0 0 13 * 5").is_either
        assert not parse_schedule("0 0 */2 * 5").is_either
        assert not parse_schedule("0 0 13 * *").is_either

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("60 3 * * *", "minute: '60'.*0 to 59"),
            ("-5 3 * * *", "minute"),
            ("0 24 * * *", "hour: '24'.*0 to 23"),
            ("0 0 0 * *", "day of month: '0'"),
            ("0 0 1 13 *", "month: '13'.*jan to dec"),
            ("0 0 * janu *", "month: 'janu'"),
            ("0 0 * * 8", "day of week: '8'.*sun to sat"),
            ("0 0 * * fri-mon", "day of week: fri-mon runs backwards.*two ranges"),
            ("50-10 * * * *", "minute: 50-10 runs backwards"),
            ("5/15 * * * *", "minute: 5/15 has no end.*5-59/15"),
            ("*/0 * * * *", "minute: a step of 0"),
            ("*/90 * * * *", "minute: a step of 90.*1 to 59"),
            ("*/ * * * *", "minute: a step of nothing"),
            ("1,,2 * * * *", "minute: ''"),
            ("0~59 * * * *", "minute: '0~59'"),
            ("0 0 L * *", "day of month: 'L'"),
            ("0 0 ? * *", "day of month"),
            ("0 0 ³ * *", "day of month"),
            ("0 0 31 2,4 *", "no day 31 in month 2,4"),
            ("0 3 * *", "4 fields.*five fields: minute"),
            ("0 0 3 * * *", "6 fields.*no seconds"),
            ("", "0 fields"),
            ("@often", "no '@often'.*@daily"),
        ],
    )
    def test_a_mistake_names_its_field_and_what_to_write(self, text: str, complaint: str) -> None:
        with pytest.raises(UsageError, match=f"(?s){complaint}"):
            parse_schedule(text)

    def test_the_last_day_of_february_and_a_weekday_beside_it_do_come(self) -> None:
        assert parse_schedule("0 0 29 2 *").days == (29,)
        assert parse_schedule("0 0 31 2 mon").is_either


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("0 3 * * *", ["*-*-* 03:00:00"]),
        ("*/15 * * * *", ["*-*-* *:00/15:00"]),
        ("5-59/10 8-18 * * mon-fri", ["Mon..Fri *-*-* 08..18:05/10:00"]),
        ("0,30 6,7,20 1-7 */3 *", ["*-01/3-01..07 06..07,20:00,30:00"]),
        ("0 0 13 * 5", ["*-*-13 00:00:00", "Fri *-*-* 00:00:00"]),
        ("0 4 * * 6,7", ["Sat..Sun *-*-* 04:00:00"]),
        ("0 4 * * 0-1,3", ["Mon,Wed,Sun *-*-* 04:00:00"]),
        ("1-30/10 * * * *", ["*-*-* *:01,11,21:00"]),
        ("@hourly", ["*-*-* *:00:00"]),
        ("@yearly", ["*-01-01 00:00:00"]),
        ("@reboot", []),
    ],
)
def test_systemd_is_told_the_same_moments(text: str, expressions: list[str]) -> None:
    assert calendar(parse_schedule(text)) == expressions
