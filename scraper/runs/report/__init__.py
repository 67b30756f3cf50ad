"""The report on a run: one HTML file without a script, a font or a request.

Everything in it may come from a site, so the page is built of elements that escape what they hold
(`markup`), and a Content-Security-Policy forbids what should not be there anyway.
"""

from importlib.resources import files
from string import Template

from scraper.runs.report.charts import timeline
from scraper.runs.report.content import Report
from scraper.runs.report.figures import number
from scraper.runs.report.findings import changes, failures
from scraper.runs.report.history import history
from scraper.runs.report.markup import Markup, clean, element, join
from scraper.runs.report.politeness import politeness
from scraper.runs.report.verdict import figures, headline, masthead, notices, verdict_of

__all__ = ["Report", "render"]

MOST_SETTINGS = 40


def render(report: Report) -> str:
    """The page: what needs a person first, then the proof."""
    parts = [
        masthead(report),
        headline(report),
        notices(report),
        figures(report),
        history(report),
        changes(report),
        failures(report),
        politeness(report),
        _course(report),
        _settings(report),
    ]
    summary = report.summary
    title = f"{verdict_of(summary)}: {clean(summary.get('spider') or 'run', 80)}"
    page = Template((files("scraper.runs.report") / "report.html").read_text("utf-8"))
    return page.substitute(title=join([title]).html, body=join(parts).html)


def _course(report: Report) -> Markup | None:
    # A run of a second has no course.
    if not any(pages or records for _, pages, records in report.timeline):
        return None
    drawn = timeline(report.timeline, number(report.summary, "seconds"))
    return element("section", element("h2", "Course of the run"), *drawn, class_="course")


def _settings(report: Report) -> Markup | None:
    if not report.settings:
        return None
    lines = [
        element("div", element("dt", clean(name, 60)), element("dd", clean(value, 200)))
        for name, value in list(report.settings.items())[:MOST_SETTINGS]
    ]
    return element("section", element("h2", "Settings"), element("dl", *lines, class_="settings"))
