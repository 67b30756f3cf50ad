"""Which addresses a site may send us to, judged on what a name resolved to."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from scraper.errors import ConnectFailed, OutOfReach
from scraper.http.exchange import exchange
from scraper.http.reach import Reach, kind_of
from scraper.http.session import DomainSession
from tests.site import Site, redirect

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (PUBLIC, ""),
        ("2606:2800:220:1::1", ""),
        ("127.8.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.31.255.1", "private"),
        ("192.168.0.1", "private"),
        ("fd12::1", "private"),
        ("fec0::1", "private"),
        ("3fff::1", "reserved"),
        ("5f00::1", "reserved"),
        ("169.254.1.1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("169.254.169.254", "metadata service"),
        ("fd00:ec2::254", "metadata service"),
        ("100.64.3.2", "carrier-grade NAT"),
        ("100.100.100.200", "metadata service"),
        ("0.0.0.0", "wildcard"),
        ("::", "wildcard"),
        ("224.0.0.251", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("192.0.0.8", "reserved"),
        ("198.18.0.1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata service"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::a00:1", "private"),
        ("64:ff9b::5db8:d822", ""),
        ("64:ff9b:1::a00:1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:5db8:d822::", ""),
        ("::ffff:0:10.0.0.1", "private"),
    ],
)
def test_what_an_address_is(address: str, kind: str) -> None:
    assert kind_of(address) == kind


def reach(**by_host: list[str]) -> Reach:
    """A reach whose named hosts are those of the arguments (`_` for a dot)."""
    names = {name.replace("_", "."): found for name, found in by_host.items()}
    return Reach(set(names), resolve=lambda host: names[host])


def test_a_public_site_leads_to_no_address_inside_unless_the_setting_names_its_network() -> None:
    found = reach(shop_example=[PUBLIC])
    assert found.allowed("cdn.example", [PUBLIC]) == [PUBLIC]
    for host in ("10.1.2.3", "intern.shop.example", "other.example"):
        with pytest.raises(OutOfReach, match=r"10\.1\.2\.3( is|,) a private address.*reach"):
            found.allowed(host, ["10.1.2.3"])
    found.networks = [ip_network("10.1.0.0/16")]
    assert found.allowed("intern.shop.example", ["10.1.2.3"]) == ["10.1.2.3"]
    with pytest.raises(OutOfReach):
        found.allowed("intern.shop.example", ["10.2.0.1"])


def test_of_mixed_answers_only_the_public_ones_are_connected_to() -> None:
    assert reach().allowed("a.example", ["127.0.0.1", PUBLIC]) == [PUBLIC]


def test_a_named_host_may_be_anywhere_and_its_domain_in_the_same_kind_of_network() -> None:
    found = reach(intranet_example=["10.0.0.1"], shop_example=[PUBLIC])
    assert found.allowed("intranet.example", ["10.0.0.1"]) == ["10.0.0.1"]
    assert found.allowed("wiki.intranet.example", ["192.168.7.1"]) == ["192.168.7.1"]
    for host, address in (
        ("wiki.intranet.example", "127.0.0.1"),
        ("wiki.intranet.example", "169.254.169.254"),
        ("other.example", "10.0.0.1"),
    ):
        with pytest.raises(OutOfReach):
            found.allowed(host, [address])


def test_a_spider_that_names_only_hosts_inside_works_there_as_a_whole() -> None:
    found = Reach({"127.0.0.1"}, resolve=lambda host: [host])
    assert found.allowed("127.0.0.2", ["127.0.0.2"]) == ["127.0.0.2"]
    for address in ("10.0.0.1", "169.254.169.254"):
        with pytest.raises(OutOfReach):
            found.allowed("x.example", [address])


def test_a_host_that_was_public_once_does_not_move_inside() -> None:
    found = reach(shop_example=[PUBLIC])
    assert found.allowed("shop.example", [PUBLIC]) == [PUBLIC]
    with pytest.raises(OutOfReach):
        found.allowed("Shop.Example.", ["127.0.0.1"])


def test_behind_a_proxy_addresses_as_such_are_judged_and_names_are_the_proxys() -> None:
    found = reach()
    found.check_literal("shop.example")
    for host in ("[::1]", "169.254.169.254", "localhost", "a.localhost"):
        with pytest.raises(OutOfReach):
            found.check_literal(host)


@pytest.mark.parametrize("way", ["exchange", "by hand", "proxy"])
def test_nothing_is_sent_to_a_host_out_of_reach(new_site: Callable[..., Site], way: str) -> None:
    site = new_site({"*": "x"})
    session = DomainSession(reach=Reach({"shop.example"}, resolve=lambda host: [PUBLIC]))
    if way == "exchange":
        assert isinstance(exchange(session, "GET", site.url()).error, OutOfReach)
    else:
        with pytest.raises(OutOfReach, match="loopback"):
            session.get(site.url(), proxies={"http": site.url("")} if way == "proxy" else None)
    assert not site.arrivals
    assert DomainSession(reach=Reach({"127.0.0.1"})).get(site.url()).text == "x"


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001", "[::ffff:7f00:1]"])
def test_behind_a_proxy_an_address_is_known_in_whatever_spelling_a_redirect_has_it(
    new_site: Callable[..., Site], host: str
) -> None:
    proxy = new_site({"http://shop.example/": redirect(f"http://{host}/"), "*": "inside"})
    session = DomainSession(reach=Reach({"shop.example"}, resolve=lambda name: [PUBLIC]))
    with pytest.raises(OutOfReach, match="loopback"):
        session.get("http://shop.example/", proxies={"http": proxy.url("")})
    assert proxy.paths() == ["http://shop.example/"]


def test_a_name_is_resolved_once_and_the_connection_is_to_what_was_judged(
    new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site({"*": "x"})
    asked: list[str] = []

    def resolved(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.9", "127.0.0.1"]

    monkeypatch.setattr("scraper.http.connection.resolve", resolved)
    session = DomainSession(reach=Reach({"name.test"}))
    session.trust_env = False
    assert session.get(f"http://name.test:{site.port}/").text == "x"
    assert asked == ["name.test"] and site.arrivals[0].headers["host"] == f"name.test:{site.port}"


def test_of_many_addresses_that_do_not_answer_none_is_tried_behind_the_deadline(
    new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site({"*": "x"})
    monkeypatch.setattr("scraper.http.connection.resolve", lambda host: ["127.0.0.9", "127.0.0.1"])
    session = DomainSession(reach=Reach({"name.test"}))
    session.timeout = (2.0, 0.0)
    assert isinstance(exchange(session, "GET", f"http://name.test:{site.port}/").error, ConnectFailed)
    assert not site.arrivals
