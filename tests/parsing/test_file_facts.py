"""What a site says about a file is a name and a type, and never a place."""

import pytest

from scraper.model import Headers
from scraper.parsing.file_facts import facts_of, name_of, type_of

URL = "https://site.example/docs/annual%20report.pdf?v=2"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("", "annual report.pdf"),
        ("inline", "annual report.pdf"),
        ("attachment; filename=data.csv", "data.csv"),
        ('attachment; filename="a \\"b\\".csv"; size=3', 'a "b".csv'),
        ("attachment; filename=\"EURO.csv\"; filename*=UTF-8''%e2%82%ac%20rates.csv", "€ rates.csv"),
        ("attachment; filename*=ISO-8859-1'de'%FCbersicht.pdf", "übersicht.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\temp\\\\x.doc"', "x.doc"),
        ("attachment; filename*=UTF-8''..%2F..%2F.bashrc", "bashrc"),
        ('attachment; filename=".."', "annual report.pdf"),
        ('attachment; filename="a\u202efdp.exe"', "afdp.exe"),
    ],
)
def test_a_name_is_one_word_without_a_folder(disposition: str, name: str) -> None:
    headers = Headers([("Content-Disposition", disposition)] if disposition else [])
    assert name_of(headers, URL) == name


def test_a_name_has_an_end() -> None:
    name = name_of(Headers([("Content-Disposition", f'attachment; filename="{"x" * 1000}.pdf"')]), URL)
    assert len(name) == 150
    assert name.endswith("x.pdf")


def test_a_url_without_a_name_gives_one() -> None:
    assert name_of(Headers(), "https://site.example/") == "file"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("application/pdf", "application/pdf"),
        ("Text/CSV; charset=utf-8", "text/csv"),
        ("application/octet-stream", "image/png"),
        ("", "image/png"),
        ("nonsense", "image/png"),
    ],
)
def test_a_type_that_says_nothing_is_guessed_from_the_name(said: str, kind: str) -> None:
    assert type_of(Headers([("Content-Type", said)]), "a.png") == kind


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a.PDF", ".pdf"), ("a.tar.gz", ".gz"), ("a.p/d", ".csv"), ("a", ".csv"), ("a.very-long-thing", ".csv")],
)
def test_a_path_has_of_the_name_no_more_than_an_extension(name: str, extension: str) -> None:
    assert facts_of(name, "text/csv", 1, "ab" * 32)["path"] == f"files/ab/{'ab' * 32}{extension}"
