"""Download files with a known SHA-256: mirrors are tried in turn, and cut-off downloads are resumed.

Received bytes are kept in `.NAME.part` beside the target, and the next mirror or the next call continues from there.
Only a whole file with the right SHA-256 replaces the target.  Proxies are those of the environment (http_proxy,
https_proxy, no_proxy).
"""

import contextlib
import fcntl
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from retrieval_gap.datasets.catalog import CatalogFile
from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import make_folder, sha256_of, sync, target_of, write_text

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30.0  # without a byte
TRIES = 3  # in a row without new bytes, before the next mirror is tried
UNSATISFIABLE = 416
BYTES = r"\d{1,18}"  # a byte count in a server's header; a longer one is ignored


class Watcher(Protocol):
    """Called with bytes done and in total (0 if unknown)."""

    def __call__(self, done: int, total: int) -> None: ...


class _MirrorError(Exception):
    """This mirror does not give the file: the next one is tried."""


class _CutOffError(Exception):
    """The connection broke: it is tried up to `tries` times."""

    tries = TRIES


class _NoAnswerError(_CutOffError):
    """There is no connection: the next mirror is tried directly."""

    tries = 1


def download(source: CatalogFile, folder: Path, watch: Watcher = lambda done, total: None) -> Path:
    """Download the source's file into the folder, with a note of its licence beside it; return its path.

    An existing file that is right is left alone; one that is wrong is replaced once the right one has arrived.  Raises
    RunError if no mirror gives the file or another process is downloading it, UsageError if the folder cannot be
    written.
    """
    make_folder(folder)
    target = target_of(folder / source.name)
    if not (target.is_file() and _has(target, source)):
        part = target.with_name(f".{source.name}.part")
        with _locked(part) as file:
            url = _from_mirrors(source, file, watch)
            sync(part)
            write_text(folder / f"{source.name}.licence.txt", _note(source, url))
            part.replace(target)
    return target


def _note(source: CatalogFile, url: str) -> str:
    what = {"From": url, "SHA-256": source.sha256, "Licence": source.licence}
    return f"{source.name}: {source.title}\n" + "".join(f"{name}: {told}\n" for name, told in what.items())


def _has(target: Path, source: CatalogFile) -> bool:
    return source.size in (0, target.stat().st_size) and sha256_of(target) == source.sha256


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """Open the part to append, under a lock; delete it if it stays empty.  Raises RunError if it is locked already."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{part}: another process is downloading it") from error
        try:
            yield file
        finally:
            if not file.tell():
                part.unlink()


def _from_mirrors(source: CatalogFile, file: IO[bytes], watch: Watcher) -> str:
    """Return the mirror that completed the file.  Raises RunError, with each mirror's error, if none does."""
    told = []
    for url in source.urls:
        try:
            _from_mirror(url, source, file, watch)
            return url
        except _MirrorError as error:
            told.append(f"{url.partition('//')[2].partition('/')[0]}: {error}")
    kept = f" ({file.tell():,} bytes are kept to go on with)" if file.tell() else ""
    raise RunError(f"{source.name} could not be fetched{kept}: " + "; ".join(told))


def _from_mirror(url: str, source: CatalogFile, file: IO[bytes], watch: Watcher) -> None:
    """Complete the file and check it; if resumed bytes give a wrong file, download it once more from the start.  Raises
    _MirrorError if this mirror does not give the file; a wrong file is not kept."""
    for resumed in (file.tell() > 0, False):
        _fill(url, source, file, watch)
        file.flush()
        found = sha256_of(Path(file.name))
        if found == source.sha256:
            return
        _empty(file)
        if not resumed:
            raise _MirrorError(f"what it gives has the SHA-256 {found}, not {source.sha256}: refused")


def _fill(url: str, source: CatalogFile, file: IO[bytes], watch: Watcher) -> None:
    """Request bytes until the file is complete.  Raises _MirrorError."""
    tries = 0
    while True:
        before = file.tell()
        try:
            return _read_on(url, source, file, watch)
        except _CutOffError as error:
            tries = 0 if file.tell() > before else tries + 1
            if tries >= error.tries:
                raise _MirrorError(str(error)) from error


def _read_on(url: str, source: CatalogFile, file: IO[bytes], watch: Watcher) -> None:
    """Make one request for the missing bytes.  Raises _CutOffError if it ends early, _MirrorError if it is refused."""
    if source.size and file.tell() == source.size:
        return
    with _answer(url, file.tell()) as answer:
        if answer.status == UNSATISFIABLE and file.tell() == _total(answer):
            return
        _put_at(answer, file)
        total = _total(answer) or source.size
        if source.size not in (0, total):
            raise _MirrorError(f"it has {total:,} bytes, not {source.size:,}: refused")
        for chunk in _chunks(answer):
            file.write(chunk)
            watch(file.tell(), total)
            if file.tell() > (total or float("inf")):
                _empty(file)
                raise _MirrorError(f"it sends more than {total:,} bytes: refused")
        if file.tell() < total:
            raise _CutOffError(f"cut off after {file.tell():,} of {total:,} bytes")


def _put_at(answer: http.client.HTTPResponse, file: IO[bytes]) -> None:
    """Empty the file if the answer begins at its start.  Raises _CutOffError if the answer begins neither there nor at
    the file's end, _MirrorError if its status is an error."""
    if answer.status == http.client.OK:
        return _empty(file)
    if answer.status not in (http.client.PARTIAL_CONTENT, UNSATISFIABLE):
        raise _MirrorError(f"HTTP {answer.status} {answer.reason}")
    if _start(answer) != file.tell():
        _empty(file)
        raise _CutOffError("it does not go on where it was cut off")
    return None


class _Redirects(HTTPRedirectHandler):
    """Closes the connection and raises URLError if a server redirects to an invalid address."""

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> http.client.HTTPResponse | None:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:
            fp.close()
            raise URLError(f"it sends us on to what is not an address ({error})") from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@contextlib.contextmanager
def _answer(url: str, offset: int) -> Iterator[http.client.HTTPResponse]:
    """Request all bytes from `offset` on and yield the answer.  Raises _NoAnswerError if there is none, _MirrorError
    for an error other than "no bytes from there on" (416)."""
    headers = {"User-Agent": "retrieval-gap", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        answer = build_opener(_Redirects).open(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != UNSATISFIABLE:
            error.close()
            raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
        answer = error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an invalid address
        reason = error.reason if isinstance(error, URLError) else error
        raise _NoAnswerError(str(reason) or type(reason).__name__) from error
    with answer:
        yield answer


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the answer's bytes.  Raises _CutOffError if the connection breaks or times out."""
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _CutOffError(str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def _total(answer: http.client.HTTPResponse) -> int:
    """Bytes of the whole file by the server's headers; 0 if unknown."""
    if answer.status == http.client.OK:
        whole = re.fullmatch(rf"\s*({BYTES})\s*", answer.headers.get("Content-Length") or "", re.ASCII)
    else:
        whole = re.search(rf"/({BYTES})\s*$", answer.headers.get("Content-Range") or "", re.ASCII)
    return int(whole[1]) if whole else 0


def _start(answer: http.client.HTTPResponse) -> int:
    start = re.match(rf"bytes ({BYTES})-", answer.headers.get("Content-Range") or "", re.ASCII)
    return int(start[1]) if start else -1


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
