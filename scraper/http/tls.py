"""TLS contexts: one for all connections with the same certificates."""

import ssl
import warnings
from functools import lru_cache

import certifi
from urllib3.util.ssl_ import create_urllib3_context

from scraper.http.timed_sockets import TimedTlsSocket

Verify = bool | str
Cert = str | tuple[str, str] | None
AUTHORITIES = certifi.where()
_OLD_RENEGOTIATION = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT, which `ssl` names since Python 3.12


@lru_cache(maxsize=256)
def tls_context(verify: Verify, cert: Cert, is_legacy: bool = False) -> ssl.SSLContext:
    """One context for all connections with these certificates: loading the bundle costs 20 ms.

    `is_legacy`: TLS 1.0 and 1.1 too, short keys, old hashes, and servers that renegotiate in the old way.
    """
    context = _legacy_context() if is_legacy else create_urllib3_context()
    context.sslsocket_class = TimedTlsSocket
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, AUTHORITIES if verify is True else verify)
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context


def _legacy_context() -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context = create_urllib3_context(
            ssl_minimum_version=ssl.TLSVersion.TLSv1, ciphers="DEFAULT:@SECLEVEL=0"
        )
    context.options |= _OLD_RENEGOTIATION
    return context


def _load_authorities(context: ssl.SSLContext, place: str) -> None:
    try:
        context.load_verify_locations(cafile=place)
    except IsADirectoryError:
        context.load_verify_locations(capath=place)
