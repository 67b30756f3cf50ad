"""Files of a site: streamed to disk by the hash of their content, known again, and brought back."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from scraper import File, Request, Spider
from scraper.http.download import modified_of
from scraper.http.saved_files import SavedFiles
from scraper.model import Headers
from scraper.spider.identity import identity_of
from scraper.testing.crawling import CrawlResult, crawl
from scraper.testing.web import Asked, FakeWeb
from scraper.urls import canonical

LIST, PDF = "https://site.example/", "https://site.example/a/report%202.pdf"
CONTENT = b"%PDF-1.7 " + bytes(range(256)) * 400


class Reports(Spider):
    name = "reports"
    start_urls = [LIST]
    key = "title"

    def parse(self, page: Any) -> Any:
        yield {"title": "list"}
        yield File(PDF, meta={"year": len(page.text)})


class Versioned:
    """A file on a server that knows ranges and versions."""

    def __init__(self, content: bytes = CONTENT, etag: str = '"1"', **headers: str) -> None:
        self.content, self.etag = content, etag
        self.headers = {"Content-Type": "application/pdf", "ETag": etag, **headers}

    def __call__(self, asked: Asked) -> Any:
        if asked.headers.get("if-none-match") == self.etag:
            return 304, {"ETag": self.etag}
        if "range" not in asked.headers or asked.headers.get("if-range") != self.etag:
            return 200, self.headers, self.content
        first = int(asked.headers["range"][6:-1])
        total = len(self.content)
        if first >= total:
            return 416, {"Content-Range": f"bytes */{total}"}
        ranged = {"Content-Range": f"bytes {first}-{total - 1}/{total}"}
        return 206, self.headers | ranged, self.content[first:]


def web_of(file: Any, **pages: Any) -> FakeWeb:
    return FakeWeb({LIST: "<p>list</p>", PDF: file, **pages})


def record_of(result: CrawlResult) -> dict[str, Any]:
    return next(record for record in result.records if "sha256" in record)


def saved(home: Path) -> list[str]:
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())


def left_part(home: Path, content: bytes, validator: str = '"1"', modified: str = "") -> Path:
    """What a try left that was killed on its way."""
    path, descriptor = SavedFiles(home).begin(
        identity_of(File(PDF), canonical(PDF) or ""), validator, modified
    )
    with open(descriptor, "wb") as file:
        file.write(content)
    return path


def ranges(web: FakeWeb) -> list[str | None]:
    return [asked.headers.get("range") for asked in web.requests if asked.url == PDF]


class TestAFile:
    def test_is_saved_under_its_hash_and_its_record_tells_what_it_is(self, tmp_path: Path) -> None:
        result = crawl(Reports, web_of(Versioned()), files=tmp_path)
        digest = hashlib.sha256(CONTENT).hexdigest()
        assert record_of(result) == {
            "year": 11,
            "url": PDF,
            "name": "report 2.pdf",
            "path": f"files/{digest[:2]}/{digest}.pdf",
            "type": "application/pdf",
            "size": len(CONTENT),
            "sha256": digest,
        }
        assert (tmp_path / record_of(result)["path"]).read_bytes() == CONTENT
        assert saved(tmp_path) == [record_of(result)["path"]]

    def test_that_did_not_change_is_not_sent_again(self, tmp_path: Path) -> None:
        web = web_of(Versioned())
        first = crawl(Reports, web, files=tmp_path)
        again = crawl(Reports, web, store=first.store, files=tmp_path)
        assert again.summary["unchanged"] == 2
        assert again.records == first.records

    def test_that_changed_changes_its_record(self, tmp_path: Path) -> None:
        web = web_of(Versioned())
        first = crawl(Reports, web, files=tmp_path)
        web[PDF] = Versioned(b"%PDF new", '"2"')
        again = crawl(Reports, web, store=first.store, files=tmp_path)
        assert record_of(again)["sha256"] == hashlib.sha256(b"%PDF new").hexdigest()
        assert len(saved(tmp_path)) == 2

    @pytest.mark.parametrize("left", [None, b"cut off by hand"])
    def test_that_was_deleted_or_cut_by_hand_comes_back(self, left: bytes | None, tmp_path: Path) -> None:
        web = web_of(Versioned())
        first = crawl(Reports, web, files=tmp_path)
        place = tmp_path / record_of(first)["path"]
        place.unlink()
        if left is not None:
            place.write_bytes(left)
        again = crawl(Reports, web, store=first.store, files=tmp_path)
        assert place.read_bytes() == CONTENT
        assert again.records == first.records

    def test_takes_what_its_request_carries_without_being_sent_again(self, tmp_path: Path) -> None:
        web = web_of(Versioned())
        first = crawl(Reports, web, files=tmp_path)
        web[LIST] = "<p>another list</p>"
        again = crawl(Reports, web, store=first.store, files=tmp_path)
        assert record_of(again) == record_of(first) | {"year": 19}
        assert web.requests[-1].headers["if-none-match"] == '"1"'

    def test_of_one_content_at_two_urls_is_there_once(self, tmp_path: Path) -> None:
        class Twice(Reports):
            def parse(self, page: Any) -> Any:
                yield File(PDF)
                yield Request("https://site.example/copy.bin", "save")

        web = web_of(Versioned(), **{"https://site.example/copy.bin": (200, {}, CONTENT)})
        result = crawl(Twice, web, files=tmp_path)
        one, other = result.records
        assert one["path"] == other["path"]
        assert (other["name"], other["type"]) == ("copy.bin", "application/octet-stream")
        assert len(saved(tmp_path)) == 1

    def test_behind_a_redirect_is_known_by_the_url_that_was_asked_for(self, tmp_path: Path) -> None:
        there = "https://site.example/store/1"
        web = web_of((302, {"Location": there}), **{there: Versioned()})
        assert record_of(crawl(Reports, web, files=tmp_path))["url"] == PDF

    def test_is_decoded_where_the_server_insists_on_a_coding(self, tmp_path: Path) -> None:
        import gzip

        coded = 200, {"Content-Type": "text/csv", "Content-Encoding": "gzip"}, gzip.compress(CONTENT)
        result = crawl(Reports, web_of(coded), files=tmp_path)
        assert (tmp_path / record_of(result)["path"]).read_bytes() == CONTENT
        assert len(saved(tmp_path)) == 1

    def test_waits_for_robots_txt_like_any_page(self, tmp_path: Path) -> None:
        rules = {"https://site.example/robots.txt": (200, {}, "User-agent: *\nDisallow: /a/")}
        result = crawl(Reports, web_of(Versioned(), **rules), files=tmp_path)
        assert "robots.txt" in result.denied[PDF]
        assert saved(tmp_path) == []


class TestLimits:
    @pytest.mark.parametrize("told", [{}, {"Content-Length": str(len(CONTENT))}])
    def test_what_is_larger_than_max_file_fails_and_leaves_nothing(
        self, told: dict[str, str], tmp_path: Path
    ) -> None:
        web = web_of(Versioned(**told))
        result = crawl(Reports, web, files=tmp_path, max_file=1000)
        assert result.failed[PDF].startswith("file over max_file")
        assert saved(tmp_path) == []

    def test_max_body_does_not_bound_a_file(self, tmp_path: Path) -> None:
        result = crawl(Reports, web_of(Versioned()), files=tmp_path, max_body=5000)
        assert record_of(result)["size"] == len(CONTENT)

    def test_a_type_that_the_settings_do_not_name_is_not_read(self, tmp_path: Path) -> None:
        result = crawl(Reports, web_of(Versioned()), files=tmp_path, file_types=["image/*"])
        assert result.denied[PDF] == "its type is application/pdf, which file_types does not name"
        assert saved(tmp_path) == []

    @pytest.mark.parametrize("types", [["application/pdf"], ["text/plain", "application/*"], []])
    def test_a_type_that_they_name_is_saved(self, types: list[str], tmp_path: Path) -> None:
        assert record_of(crawl(Reports, web_of(Versioned()), files=tmp_path, file_types=types))

    def test_a_page_in_the_place_of_a_file_is_of_a_type_too(self, tmp_path: Path) -> None:
        page = 200, {"Content-Type": "text/html"}, "<p>not found"
        result = crawl(Reports, web_of(page), files=tmp_path, file_types=["application/pdf"])
        assert result.denied[PDF] == "its type is text/html, which file_types does not name"
        assert saved(tmp_path) == []

    @pytest.mark.parametrize("types", [[], ["application/pdf"]])
    def test_a_challenge_in_the_place_of_a_file_is_a_refusal(self, types: list[str], tmp_path: Path) -> None:
        page = (
            200,
            {"cf-mitigated": "challenge", "Content-Type": "text/html"},
            "<title>Just a moment...</title>",
        )
        result = crawl(Reports, web_of(page), files=tmp_path, file_types=types)
        assert "challenge" in result.failed[PDF]
        assert saved(tmp_path) == []


class TestGoingOn:
    def test_asks_only_for_what_is_missing(self, tmp_path: Path) -> None:
        left_part(tmp_path, CONTENT[:5000])
        web = web_of(Versioned())
        result = crawl(Reports, web, files=tmp_path)
        assert ranges(web) == ["bytes=5000-"]
        assert (tmp_path / record_of(result)["path"]).read_bytes() == CONTENT
        assert len(saved(tmp_path)) == 1

    def test_starts_again_where_the_file_has_changed(self, tmp_path: Path) -> None:
        left_part(tmp_path, b"of another version", '"0"')
        result = crawl(Reports, web_of(Versioned()), files=tmp_path)
        assert record_of(result)["sha256"] == hashlib.sha256(CONTENT).hexdigest()

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"},
            {"Content-Range": f"bytes 5000-6000/{len(CONTENT)}"},
            {"Content-Range": f"bytes 5000-{len(CONTENT) - 1}/*"},
            {"Content-Range": f"bytes 5000-{len(CONTENT) - 1}/{len(CONTENT)}", "ETag": '"2"'},
            {"Content-Type": "multipart/byteranges; boundary=x"},
            {},
        ],
    )
    def test_takes_no_other_part_than_it_asked_for(self, headers: dict[str, str], tmp_path: Path) -> None:
        left_part(tmp_path, CONTENT[:5000])
        wrong = 206, {"ETag": '"1"', **headers}, b"something else"
        web = web_of([wrong, Versioned()])
        result = crawl(Reports, web, files=tmp_path)
        assert ranges(web) == ["bytes=5000-", None]
        assert record_of(result)["sha256"] == hashlib.sha256(CONTENT).hexdigest()

    def test_takes_nothing_of_a_file_that_has_changed_under_its_old_etag(self, tmp_path: Path) -> None:
        """Tornado 6.6.1, StaticFileHandler: If-Range is not heeded, the ETag is old until a restart."""
        before, after = "Tue, 14 Nov 2023 22:13:20 GMT", "Sat, 09 Mar 2024 16:00:00 GMT"
        left_part(tmp_path, b"x" * 5000, modified=modified_of(Headers([("Last-Modified", before)])))
        rest = {
            "Content-Range": f"bytes 5000-{len(CONTENT) - 1}/{len(CONTENT)}",
            "ETag": '"1"',
            "Last-Modified": after,
        }
        web = web_of([(206, rest, CONTENT[5000:]), Versioned()])
        result = crawl(Reports, web, files=tmp_path)
        assert ranges(web) == ["bytes=5000-", None]
        assert record_of(result)["sha256"] == hashlib.sha256(CONTENT).hexdigest()

    def test_a_part_that_is_longer_than_the_file_is_given_up(self, tmp_path: Path) -> None:
        left_part(tmp_path, CONTENT + b"more")
        web = web_of(Versioned())
        result = crawl(Reports, web, files=tmp_path)
        assert ranges(web) == [f"bytes={len(CONTENT) + 4}-", None]
        assert (tmp_path / record_of(result)["path"]).read_bytes() == CONTENT

    def test_what_a_weak_etag_names_is_not_gone_on_with(self, tmp_path: Path) -> None:
        left_part(tmp_path, CONTENT[:5000], "")
        web = web_of(Versioned())
        crawl(Reports, web, files=tmp_path)
        assert ranges(web) == [None]
        assert len(saved(tmp_path)) == 1

    def test_does_not_write_through_a_link_that_somebody_planted(self, tmp_path: Path) -> None:
        other = tmp_path / "other.txt"
        other.write_bytes(CONTENT[:5000])
        part = left_part(tmp_path, b"x")
        part.unlink()
        part.symlink_to(other)
        result = crawl(Reports, web_of(Versioned()), files=tmp_path)
        assert other.read_bytes() == CONTENT[:5000]
        assert not (tmp_path / record_of(result)["path"]).is_symlink()


class TestADigest:
    RIGHT = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    WRONG = base64.b64encode(hashlib.sha256(b"").digest()).decode()

    @pytest.mark.parametrize("headers", [{"Repr-Digest": "sha-256=:{}:"}, {"Digest": "MD5=x, SHA-256={}"}])
    def test_of_the_server_is_held_against_a_file_that_was_gone_on_with(
        self, headers: dict[str, str], tmp_path: Path
    ) -> None:
        left_part(tmp_path, b"x" * 5000)  # of the same version by its name
        said = {name: value.format(self.RIGHT) for name, value in headers.items()}
        web = web_of(Versioned(**said))
        result = crawl(Reports, web, files=tmp_path)
        assert ranges(web) == ["bytes=5000-", None]
        assert record_of(result)["sha256"] == hashlib.sha256(CONTENT).hexdigest()
        assert len(saved(tmp_path)) == 1

    def test_that_never_fits_fails_the_file(self, tmp_path: Path) -> None:
        web = web_of(Versioned(**{"Repr-Digest": f"sha-256=:{self.WRONG}:"}))
        result = crawl(Reports, web, files=tmp_path, max_attempts=2)
        assert "digest" in result.failed[PDF]
        assert saved(tmp_path) == []


class TestAPageThatSaves:
    class Gallery(Spider):
        name = "gallery"
        start_urls = [LIST]
        key = "title"

        def parse(self, page: Any) -> Any:
            yield Request("https://site.example/1", self.picture, meta={"title": "One"})

        def picture(self, page: Any) -> Any:
            yield {"title": page.meta["title"], **page.save(name="../one.txt")}

    PICTURE = "https://site.example/1"

    def web(self) -> FakeWeb:
        return FakeWeb({LIST: "<p>", self.PICTURE: Versioned(b"png", **{"Content-Type": "image/png"})})

    def test_has_the_facts_for_its_own_record(self, tmp_path: Path) -> None:
        result = crawl(self.Gallery, self.web(), files=tmp_path)
        record = record_of(result)
        assert (record["title"], record["name"], record["type"]) == ("One", "one.txt", "image/png")
        assert (tmp_path / record["path"]).read_bytes() == b"png"

    def test_brings_a_deleted_file_back(self, tmp_path: Path) -> None:
        web = self.web()
        first = crawl(self.Gallery, web, files=tmp_path)
        (tmp_path / record_of(first)["path"]).unlink()
        crawl(self.Gallery, web, store=first.store, files=tmp_path)
        assert (tmp_path / record_of(first)["path"]).read_bytes() == b"png"

    def test_writes_nothing_where_there_is_no_folder(self) -> None:
        assert record_of(crawl(self.Gallery, self.web()))["size"] == 3
