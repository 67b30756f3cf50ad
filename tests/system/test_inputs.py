"""What a run was begun with stays with it, and what its records depend on is noticed when it changes."""

import shlex
from typing import Any

import pytest

from tests.project import Project
from tests.site import Arrival, Reply, Site, page

pytestmark = pytest.mark.thorough

SPIDER = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        key = "url"
        settings = {{"delay": 0}}

        def parse(self, page):
            yield {{"url": page.url, "by": {by}}}
            yield from page.follow_all("a")
"""


def tagged(reply: Reply) -> Any:
    def answer(arrival: Arrival) -> Reply:
        is_known = arrival.headers.get("if-none-match") == '"1"'
        return Reply(304 if is_known else 200, reply.body, {**dict(reply.headers), "ETag": '"1"'})

    return answer


@pytest.fixture
def shop(site: Site) -> Site:
    site["/robots.txt"] = 404
    site["/"] = tagged(page(*(f"/{n}" for n in range(9)), title="home"))
    for n in range(9):
        site[f"/{n}"] = tagged(page(title=str(n)))
    return site


def write(project: Project, site: Site, by: str = "'first'") -> None:
    project.spider("shop", SPIDER.format(url=site.url(), by=by))


def seen(project: Project) -> set[Any]:
    return {record["by"] for record in project.records("shop")}


def go_on(text: str) -> list[str]:
    """The words of the command that a run's ending says to go on with."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith("go on ")]
    words = shlex.split(line)
    return words[words.index("run") :]


def test_a_spider_that_was_edited_between_two_tries_parses_the_first_pages_again(
    project: Project, shop: Site
) -> None:
    write(project, shop)
    assert project.run("run", "shop", "--max-pages", "4").code == 0
    write(project, shop, "'second'")
    ended = project.run("run", "shop", "--json")
    assert (ended.code, ended.summary["verdict"], ended.summary["records"]) == (0, "OK", 10), ended.text
    assert "was begun with other code" in ended.err
    assert len(project.records("shop")) == 10 and seen(project) == {"second"}


@pytest.mark.parametrize(
    ("module", "imports"),
    [
        ("spiders/_words.py", "from _words import WORD"),
        ("words/__init__.py", "from words import WORD"),
        ("words/deep/said.py", "from words.deep.said import WORD"),
    ],
)
def test_a_helper_module_that_was_edited_counts_as_the_spiders_code(
    project: Project, shop: Site, module: str, imports: str
) -> None:
    helper = project.root / module
    helper.parent.mkdir(parents=True, exist_ok=True)
    helper.write_text("WORD = 'first'\n")
    source = SPIDER.format(url=shop.url(), by="WORD")
    project.spider("shop", source.replace("from scraper", f"{imports}\n    from scraper"))
    assert project.run("run", "shop").code == 0
    again = project.run("run", "shop", "--json")
    assert (again.summary["pages"], again.summary["unchanged"]) == (0, 10)
    helper.write_text("WORD = 'second'\n")
    assert project.run("run", "shop", "--json").summary["changed"] == 10
    assert seen(project) == {"second"}


def test_records_of_other_params_do_not_stand(project: Project, shop: Site) -> None:
    write(project, shop, "self.params['category']")
    for category in ("a", "b"):
        ended = project.run("run", "shop", "--json", "--param", f"category={category}")
        assert ended.code == 0 and seen(project) == {category}
    assert ended.summary["changed"] == 10


def test_the_command_that_goes_on_carries_what_the_run_was_given(project: Project, shop: Site) -> None:
    write(project, shop, "self.params['category'] + self.params['pin_word']")
    given = ["--set", "max_depth=4", "--param", "category=a b", "--param", "pin_word=x"]
    first = project.run("run", "shop", "--max-pages", "3", *given)
    words = go_on(first.err)
    assert words == ["run", "shop", *given]
    shown = project.run("show", "shop")
    assert go_on(shown.out) == words
    assert project.run(*words).code == 0 and seen(project) == {"a bx"}


def test_a_run_that_goes_on_remembers_its_params_and_takes_no_others(project: Project, shop: Site) -> None:
    write(project, shop, "self.params['category']")
    assert project.run("run", "shop", "--max-pages", "3", "--param", "category=a").code == 0
    asked = len(shop.arrivals)
    for other in (["--param", "category=b"], ["--param", "color=red"]):
        refused = project.run("run", "shop", *other)
        assert refused.code == 2 and "--fresh" in refused.err and len(shop.arrivals) == asked
    ended = project.run("run", "shop", "--json")
    assert (ended.code, ended.summary["resumed"], ended.summary["params"]) == (0, True, {"category": "a"})
    assert seen(project) == {"a"}
    assert project.run("run", "shop", "--max-pages", "3", "--param", "category=a").code == 0
    anew = project.run("run", "shop", "--fresh", "--param", "category=b", "--json")
    assert (anew.summary["records"], seen(project)) == (10, {"b"})


def test_a_secret_param_is_neither_kept_nor_shown_and_may_be_put_right(project: Project, shop: Site) -> None:
    write(project, shop, "len(self.params['password'])")
    first = project.run("run", "shop", "--max-pages", "3", "--param", "password=hunter2")
    assert go_on(first.err)[-2:] == ["--param", "password=-"]
    without = project.run("run", "shop")
    assert without.code == 2 and "give it again: --param password=-" in without.err
    assert project.run("run", "shop", "--param", "password=hunter3").code == 0
    kept = b"".join(path.read_bytes() for path in project.data().rglob("*") if path.is_file())
    assert b"hunter2" not in kept and b"hunter3" not in kept


def test_workers_have_the_params_that_the_run_remembers(project: Project, shop: Site) -> None:
    write(project, shop, "self.params['category']")
    assert project.run("run", "shop", "--max-pages", "3", "--param", "category=a").code == 0
    assert project.run("run", "shop", "--workers", "2").code == 0
    assert len(project.records("shop")) == 10 and seen(project) == {"a"}


def test_filtered_duplicates_are_counted(project: Project, shop: Site) -> None:
    shop["/1"] = page("/", "/2", "/3")
    write(project, shop)
    ended = project.run("run", "shop", "--json")
    assert ended.summary["filtered"] == 3 and "3 duplicate requests filtered" in ended.err
    assert project.runs("shop")[0]["filtered"] == 3


def test_start_requests_that_repeat_another_are_counted_with_the_filtered(
    project: Project, shop: Site
) -> None:
    write(project, shop)
    source = (project.root / "spiders" / "shop.py").read_text()
    url = shop.url()
    (project.root / "spiders" / "shop.py").write_text(
        source.replace(f'"{url}"', f'"{url}", "{url}", "{url}#x"')
    )
    first = project.run("run", "shop", "--max-pages", "2", "--json")
    ended = project.run("run", "shop", "--json")
    assert (first.summary["filtered"], ended.summary["filtered"]) == (2, 2), ended.text


@pytest.mark.parametrize("by", ["open('rates.txt').read()", "__import__('os').environ['SHOP_RATE']"])
def test_a_file_or_variable_that_changed_between_two_tries_counts_as_the_spiders_code(
    project: Project, shop: Site, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(rate: str) -> None:
        (project.root / "rates.txt").write_text(rate)
        monkeypatch.setenv("SHOP_RATE", rate)

    write(project, shop, by)
    say("1")
    project.run("run", "shop", "--max-pages", 3)
    say("2")
    ended = project.run("run", "shop", "--json")
    assert "was begun with other files or variables" in ended.err
    assert (ended.code, len(project.records("shop")), seen(project)) == (0, 10, {"2"}), ended.text
    say("3")
    assert project.run("run", "shop", "--json").summary["changed"] == 10
    assert project.run("run", "shop", "--json").summary["unchanged"] == 10


def test_what_opened_reads_is_an_input_wherever_it_puts_it(project: Project, shop: Site) -> None:
    write(project, shop, "RATES[0]")
    source = (project.root / "spiders" / "shop.py").read_text()
    reads = "    def opened(self):\n        RATES[:] = [open('rates' + '.txt').read()]\n\n    def parse("
    project.spider("shop", "RATES = []\n" + source.replace("    def parse(", reads))
    for day, rate in enumerate(("1", "2", "2")):
        (project.root / "rates.txt").write_text(rate)
        ended = project.run("run", "shop", "--json")
        assert (ended.code, seen(project)) == (0, {rate}), ended.text
        assert ended.summary["unchanged"] == (10 if day == 2 else 0)


def test_a_run_whose_spider_writes_to_its_own_files_comes_to_its_end(project: Project, shop: Site) -> None:
    write(project, shop, "str(open('seen.txt', 'a').write(page.url))")
    (project.root / "seen.txt").write_text("")
    tries = [project.run("run", "shop", "--max-pages", 3, "--json") for _ in range(6)]
    assert [one.summary["resumed"] for one in tries[:3]] == [False, False, True]
    assert tries[4].summary["verdict"] == "OK" and len(project.records("shop")) == 10
    assert "spider reads have changed since run" in tries[2].err


def test_a_request_of_one_callback_is_no_look_at_anything_by_the_others(project: Project, shop: Site) -> None:
    shop["/rate"] = "1.1"
    write(project, shop, "page.session.get(page.urljoin('/rate')).text if page.url.endswith('/3') else 1")
    assert project.run("run", "shop").code == 0
    again = project.run("run", "shop", "--json")
    assert (again.summary["pages"], again.summary["unchanged"]) == (1, 9), again.text
    assert not [line for line in project.log("shop") if "looks at" in line.get("text", "")]
