"""Digest access authentication by RFC 7616: its own examples, and which of several challenges is answered."""

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from scraper.http.digest import DigestAuth, answer, best, challenges
from scraper.http.session import DomainSession
from tests.site import Arrival, Reply, Site

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616_3_9_1(algorithm: str, response: str) -> None:
    challenge = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "algorithm": algorithm,
        "nonce": NONCE,
        "opaque": OPAQUE,
    }
    request = ("GET", "/dir/index.html", b"")
    said = answer(challenge, "Mufasa", "Circle of Life", request, (1, CNONCE))
    assert f'response="{response}"' in said
    assert 'username="Mufasa"' in said and "qop=auth, nc=00000001" in said and f'opaque="{OPAQUE}"' in said


def test_the_example_of_rfc_7616_3_9_2_hashes_the_name_with_sha_512_256() -> None:
    challenge = {
        "realm": "api@example.org",
        "qop": "auth",
        "algorithm": "SHA-512-256",
        "nonce": "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        "opaque": "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
        "userhash": "true",
    }
    own = "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm"
    said = answer(challenge, "J\u00e4s\u00f8n Doe", "Secret, or not?", ("GET", "/doe.json", b""), (1, own))
    # The RFC's own figure is wrong here (erratum 4897); this is the corrected one.
    assert 'username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"' in said
    assert said.endswith("userhash=true")


def test_of_several_challenges_the_first_that_we_can_answer_counts_but_md5_last() -> None:
    values = [
        'Basic realm="x", Digest realm="a, b", nonce="1", algorithm=SHA-3, qop="auth"',
        'Digest realm="r\\"q", nonce=2, algorithm=MD5, Digest realm="r", nonce="3", algorithm="SHA-512-256"',
        'Digest realm="r", nonce="4", algorithm=SHA-256',
        'Digest realm="r", nonce="5"',
    ]
    found = challenges(values)
    assert [one["nonce"] for one in found] == ["1", "2", "3", "4", "5"]
    assert (found[0]["realm"], found[1]["realm"]) == ("a, b", 'r"q')
    chosen = best(found)
    assert chosen is not None and chosen["nonce"] == "3"
    assert best(found[4:]) == {"realm": "r", "nonce": "5"} and best(found[:1]) is None
    assert challenges(["Digest", "Negotiate YII=", 'Digest realm="r"', "", ",,=,"]) == []


def test_over_the_wire_each_challenge_of_two_fields_is_seen(new_site: Callable[..., Site]) -> None:
    def reply(arrival: Arrival) -> Any:
        said = arrival.headers.get("authorization", "")
        if "algorithm=SHA-512-256" in said and 'nonce="n1"' in said:
            return "in"
        offers = (
            'Digest realm="r", nonce="n1", qop="auth", algorithm=SHA-512-256',
            'Digest realm="r", nonce="n2"',
        )
        return Reply(401, "", [("WWW-Authenticate", one) for one in offers])

    site = new_site({"*": reply})
    session = DomainSession()
    session.auth = DigestAuth("ada", "pw")
    assert session.get(site.url("/a?b=1")).text == "in" and session.get(site.url("/c")).text == "in"
    assert len(site.arrivals) == 3 and 'uri="/a?b=1"' in site.arrivals[1].headers["authorization"]


@pytest.mark.parametrize(
    "text", ['"' + " " * 30_000 + '"', 'a="\\' * 8_000, '="' * 15_000, "Digest " * 5_000]
)
def test_hostile_challenges_take_linear_time(text: str) -> None:
    began = process_time()
    challenges([text])
    assert process_time() - began < 0.5
