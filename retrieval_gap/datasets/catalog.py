"""Read catalog.toml, which lists what can be fetched."""

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from retrieval_gap.machine.errors import UsageError, unknown

CATALOG = Path(__file__).with_name("catalog.toml")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class CatalogFile:
    """One file of a data set.

    urls: mirrors, in the order in which they are tried.
    size: bytes; 0 if unknown.
    sha256: 64 hex digits that the file must have; "" if unknown.
    """

    title: str
    licence: str
    about: str
    name: str
    size: int = 0
    sha256: str = ""
    urls: tuple[str, ...]


def find(data_set: str, part: str, catalog: Path = CATALOG) -> CatalogFile:
    """Raises UsageError, with the nearest name, if the catalog lacks the data set or the part."""
    entries = tomllib.loads(catalog.read_text(encoding="utf-8"))
    if data_set not in entries:
        raise unknown("data set", data_set, entries)
    entry = entries[data_set]
    if part not in entry["parts"]:
        raise unknown(f"part of {data_set}", part, entry["parts"])
    fields = entry["parts"][part]
    return CatalogFile(title=entry["title"], licence=entry["licence"], **{**fields, "urls": tuple(fields["urls"])})


def changed(source: CatalogFile, url: str, sha256: str) -> CatalogFile:
    """The source with the user's mirror tried first, or with the user's SHA-256.  A different SHA-256 means a different
    file, of unknown size, from the user's mirror if one is given.  Raises UsageError for an invalid web address or
    SHA-256, and if neither the catalog nor the user has a SHA-256."""
    if url:
        if not _is_address(url):
            raise UsageError(f"--url {url} is not an http or https address")
        source = replace(source, urls=(url, *source.urls))
    if sha256 and sha256.lower() != source.sha256:
        if not SHA256.fullmatch(sha256.lower()):
            raise UsageError(f"--sha256 {sha256} is not a SHA-256: expected 64 hex digits")
        source = replace(source, sha256=sha256.lower(), size=0, urls=(url,) if url else source.urls)
    if not source.sha256:
        raise UsageError(f"no SHA-256 is known for {source.name}: --sha256 HEX says what it must be")
    return source


def _is_address(url: str) -> bool:
    """Whether this is an http or https address that can be sent: ASCII, with a host and, if given, a valid port."""
    try:
        address = urlsplit(url)
        host, _ = address.hostname or "", address.port
        host.encode("idna")  # fails if a part of the name is empty or longer than 63 letters
    except ValueError:  # includes UnicodeError
        return False
    return address.scheme in ("http", "https") and bool(host) and url.isascii() and url.isprintable() and " " not in url
