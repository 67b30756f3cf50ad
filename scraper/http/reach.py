"""Which addresses a site may send us to: judged where a connection is opened, on what the name resolved to.

A redirect or link of a public site to an address of this machine or its networks is denied (SSRF), unless
the spider names that host or its network itself. Blocks by the IANA special-purpose registries (RFC 6890).
"""

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field

from scraper.errors import OutOfReach
from scraper.model.frozen import slotted
from scraper.urls import domain_of_host

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST_NAMED = 50  # hosts that are looked up to learn whether a spider works inside
Resolve = Callable[[str], Sequence[str]]

_KINDS: tuple[tuple[str, str], ...] = (
    ("127.0.0.0/8", "loopback"),
    ("::1/128", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("fe80::/10", "link-local"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("0.0.0.0/8", "wildcard"),
    ("::/128", "wildcard"),
    ("224.0.0.0/4", "multicast"),
    ("ff00::/8", "multicast"),
    ("fec0::/10", "private"),
    ("192.0.0.0/24", "reserved"),
    ("240.0.0.0/4", "reserved"),
    ("64:ff9b:1::/48", "private"),
    ("3fff::/20", "reserved"),
    ("5f00::/16", "reserved"),
)
_BLOCKS: tuple[tuple[Network, str], ...] = tuple((ipaddress.ip_network(one), kind) for one, kind in _KINDS)
_METADATA = frozenset(
    {"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"}
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765


def kind_of(address: str) -> str:
    """What makes an address no public one ("loopback", "private", "metadata service" ...); empty: it is."""
    try:
        found: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "malformed"
    if str(found) in _METADATA:
        return "metadata service"
    for block, kind in _BLOCKS:
        if found.version == block.version and found in block:
            return kind
    inner = _inner(found)
    if inner is not None:
        return kind_of(str(inner))
    return "" if found.is_global else "private"


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, compatible, translated, 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in _NAT64 or address in _COMPATIBLE or address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def resolve(host: str) -> list[str]:
    """The addresses of a host, in the system's order; raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


@slotted
class Reach:
    """Judges the addresses of a host. `hosts`: those that the spider names; `networks`: the setting `reach`.

    A spider whose named hosts are all in private networks works in these; beside public ones, a private host
    that is named stands for its domain. A host that was public once stays so for the run (DNS rebinding).
    """

    hosts: Collection[str] = ()
    networks: Collection[Network] = ()
    resolve: Resolve = resolve
    _public: set[str] = field(default_factory=set)

    def allowed(self, host: str, addresses: Iterable[str]) -> list[str]:
        """Those of a host's addresses that may be connected to; OutOfReach, with the reason, if none is."""
        every, host = list(addresses), host.rstrip(".").lower()
        public = [one for one in every if not kind_of(one)]
        inside = [one for one in every if kind_of(one) and self._is_listed(one)]
        if public:
            self._public.add(host)
        if public or inside or not every:
            return public + inside
        if self._is_ours(host, {kind_of(one) for one in every}):
            return every
        raise OutOfReach(refusal(host, every[0]))

    def check_literal(self, host: str) -> None:
        """Judge a host behind a proxy, where the proxy resolves: an address or this machine's own name."""
        name = host.strip("[]").rstrip(".").lower()
        if is_local_name(name):
            self.allowed(name, ["127.0.0.1"])
        elif kind_of(name) not in ("", "malformed"):
            self.allowed(name, [name])

    def _is_listed(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        return any(found.version == one.version and found in one for one in self.networks)

    def _is_ours(self, host: str, kinds: set[str]) -> bool:
        if host in self._public:
            return False
        if host in self.hosts:
            return True
        domain = domain_of_host(host)
        near = [one for one in self.hosts if domain_of_host(one) == domain]
        named = [self._kinds(one) for one in near or list(self.hosts)[:MOST_NAMED]]
        is_inside = all(named) if not near else True
        return is_inside and "metadata service" not in kinds and kinds <= set().union(*named)

    def _kinds(self, host: str) -> set[str]:
        """The kinds of network that a named host is in; none for one with a public address."""
        try:
            kinds = {kind_of(one) for one in self.resolve(host)}
        except (OSError, UnicodeError):
            return set()
        return kinds if "" not in kinds and host not in self._public else set()


def is_local_name(host: str) -> bool:
    """Whether a name is this machine's own, without asking (RFC 6761 6.3)."""
    return host == "localhost" or host.endswith(".localhost")


def refusal(host: str, address: str) -> str:
    """Why a host is not connected to, and what would allow it."""
    at = f"{address} is" if host == address else f"{host} is {address},"
    kind = kind_of(address)
    return f'{at} a {kind} address, which is asked only where a setting names it: reach = ["{address}"]'
