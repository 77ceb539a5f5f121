"""A download gives the pinned bytes or leaves the target file as it was, whatever the servers do."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.datasets import catalog, download
from retrieval_gap.datasets.catalog import SHA256, CatalogFile, changed, find
from retrieval_gap.machine.errors import RunError, UsageError
from tests.datasets.server import Site, answer, cut_off, refuse, site, slow, whole

CONTENT = random.Random(0).randbytes(300_000)
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 30)
    with site() as served:
        yield served


def source(*urls: str, size: int = len(CONTENT)) -> CatalogFile:
    about = {"title": "Made-up data", "licence": "CC BY-SA 4.0", "about": "bytes"}
    return CatalogFile(name="data.json", size=size, sha256=DIGEST, urls=urls, **about)


def fetch(folder: Path, *urls: str, size: int = len(CONTENT)) -> bytes:
    return download.download(source(*urls, size=size), folder).read_bytes()


def part(folder: Path) -> Path:
    return folder / ".data.json.part"


def test_a_whole_file_arrives_with_its_licence_beside_it(server: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    url = server.serve("/a", whole(CONTENT))
    path = download.download(source(url), tmp_path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data.json", "data.json.licence.txt"]
    note = (tmp_path / "data.json.licence.txt").read_text()
    assert all(told in note for told in ("data.json: Made-up data", "CC BY-SA 4.0", url, DIGEST))


def test_an_existing_file_is_not_fetched_again(server: Site, tmp_path: Path) -> None:
    url = server.serve("/a", whole(CONTENT))
    assert fetch(tmp_path, url) == fetch(tmp_path, url) == CONTENT
    assert len(server.asked) == 1


def test_a_file_of_other_content_is_replaced_only_once_the_right_one_has_arrived(server: Site, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(OTHER)
    with pytest.raises(RunError):
        fetch(tmp_path, server.address + "/nowhere")
    assert (tmp_path / "data.json").read_bytes() == OTHER
    assert fetch(tmp_path, server.serve("/a", whole(CONTENT))) == CONTENT


def test_behind_a_link_its_target_is_replaced_and_the_link_stays(server: Site, tmp_path: Path) -> None:
    for folder in ("elsewhere", "data"):
        (tmp_path / folder).mkdir()
    kept = tmp_path / "elsewhere" / "kept.json"
    kept.write_bytes(OTHER)
    (tmp_path / "data" / "data.json").symlink_to(kept)
    assert fetch(tmp_path / "data", server.serve("/a", whole(CONTENT))) == CONTENT
    assert (tmp_path / "data" / "data.json").is_symlink()
    assert kept.read_bytes() == CONTENT


def test_a_connection_that_is_cut_off_is_resumed_where_it_broke(server: Site, tmp_path: Path) -> None:
    assert fetch(tmp_path, server.serve("/a", cut_off(CONTENT, 70_000))) == CONTENT
    assert [asked for _, asked in server.asked] == ["", *(f"bytes={70_000 * k}-" for k in range(1, 5))]


def test_a_download_goes_on_from_the_part_of_an_earlier_call(server: Site, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(CONTENT[:123_456])
    assert fetch(tmp_path, server.serve("/a", whole(CONTENT))) == CONTENT
    assert server.asked == [("/a", "bytes=123456-")]


def test_a_server_without_ranges_sends_the_file_from_its_start(server: Site, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(CONTENT[:1000])
    assert fetch(tmp_path, server.serve("/a", whole(CONTENT, ranges=False))) == CONTENT


def test_a_server_that_always_stops_at_one_point_is_given_up_and_the_part_is_kept(server: Site, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"1,000 bytes are kept.*cut off after 1,000 of 300,000 bytes"):
        fetch(tmp_path, server.serve("/a", cut_off(CONTENT, 1000, ranges=False)))
    assert part(tmp_path).read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "data.json").exists()
    assert fetch(tmp_path, server.serve("/b", whole(CONTENT))) == CONTENT
    assert server.asked[-1] == ("/b", "bytes=1000-")


def test_after_a_missing_page_the_next_mirror_is_asked(server: Site, tmp_path: Path) -> None:
    urls = [server.serve("/gone", refuse(404)), server.serve("/down", refuse(503)), server.serve("/a", whole(CONTENT))]
    assert fetch(tmp_path, *urls) == CONTENT
    assert [path for path, _ in server.asked] == ["/gone", "/down", "/a"]


def test_an_unreachable_mirror_is_skipped(server: Site, tmp_path: Path) -> None:
    assert fetch(tmp_path, "http://127.0.0.1:9/a", server.serve("/a", whole(CONTENT))) == CONTENT


@pytest.mark.parametrize(
    "url",
    ["http://[x", "http://localhost:1/é", "http://.example.com/x", f"http://{'a' * 70}.com/", "http://localhost:abc/x"],
)
def test_an_invalid_address_is_refused_and_an_invalid_mirror_is_skipped(server: Site, tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="is not an http or https address"):
        changed(source(), url, "")
    assert fetch(tmp_path, url, server.serve("/good", whole(CONTENT))) == CONTENT


@pytest.mark.parametrize("where", ["http://[bad/", "http://\xff/", "file:///etc/passwd"])
def test_a_mirror_that_redirects_to_an_invalid_address_is_skipped(server: Site, tmp_path: Path, where: str) -> None:
    bad = server.serve("/bad", answer(301, {"Location": where}))
    assert fetch(tmp_path, bad, server.serve("/good", whole(CONTENT))) == CONTENT


@pytest.mark.parametrize("told", ["abc", "-5", "9" * 5000, "\xb2"])
def test_a_length_that_is_not_a_number_is_ignored(server: Site, tmp_path: Path, told: str) -> None:
    bad = server.serve("/bad", answer(200, {"Content-Length": told}, OTHER))
    assert fetch(tmp_path, bad, server.serve("/good", whole(CONTENT))) == CONTENT


def test_a_slow_mirror_is_waited_for(server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 2)
    assert fetch(tmp_path, server.serve("/a", slow(CONTENT, 8, 0.3))) == CONTENT
    assert len(server.asked) == 1


def test_a_silent_mirror_is_left_for_the_next(server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.5)
    assert fetch(tmp_path, server.serve("/a", slow(CONTENT, 2, 0.8)), server.serve("/b", whole(CONTENT))) == CONTENT
    assert {path for path, _ in server.asked} == {"/a", "/b"}


def test_wrong_bytes_are_refused_with_their_hash_and_not_kept(server: Site, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"SHA-256 {hashlib.sha256(OTHER).hexdigest()}, not {DIGEST}: refused"):
        fetch(tmp_path, server.serve("/a", whole(OTHER)))
    assert list(tmp_path.iterdir()) == []


def test_after_wrong_bytes_the_next_mirror_sends_the_whole_file(server: Site, tmp_path: Path) -> None:
    assert fetch(tmp_path, server.serve("/a", whole(OTHER)), server.serve("/b", whole(CONTENT))) == CONTENT
    assert server.asked == [("/a", ""), ("/b", "")]


def test_bytes_kept_from_a_bad_mirror_do_not_spoil_a_good_one(server: Site, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(b"?" * 1000)
    assert fetch(tmp_path, server.serve("/a", whole(CONTENT))) == CONTENT
    assert [asked for _, asked in server.asked] == ["bytes=1000-", ""]


def test_a_file_of_another_size_is_refused_before_it_is_read(server: Site, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"it has 10,000,000 bytes, not 300,000: refused"):
        fetch(tmp_path, server.serve("/a", whole(b"x" * 10_000_000)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [len(CONTENT), len(CONTENT) + 1000])
def test_a_part_as_long_as_the_file_or_longer_is_checked_or_discarded(server: Site, tmp_path: Path, kept: int) -> None:
    part(tmp_path).write_bytes((CONTENT + CONTENT)[:kept])
    assert fetch(tmp_path, server.serve("/a", whole(CONTENT))) == CONTENT
    part(tmp_path).write_bytes((CONTENT + CONTENT)[:kept])
    (tmp_path / "data.json").unlink()
    assert fetch(tmp_path, server.serve("/a", whole(CONTENT)), size=0) == CONTENT


def test_without_a_known_size_that_of_the_server_is_used(server: Site, tmp_path: Path) -> None:
    assert fetch(tmp_path, server.serve("/a", cut_off(CONTENT, 200_000)), size=0) == CONTENT


def test_the_proxy_of_the_environment_is_used(server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("no_proxy", "")
    server.serve("http://data.invalid/a", whole(CONTENT))
    assert fetch(tmp_path, "http://data.invalid/a") == CONTENT


def test_a_second_download_of_the_same_file_at_once_is_refused(server: Site, tmp_path: Path) -> None:
    with download._locked(part(tmp_path)), pytest.raises(RunError, match="another process is downloading it"):
        fetch(tmp_path, server.serve("/a", whole(CONTENT)))


def test_the_error_for_a_folder_that_cannot_be_written_names_it(server: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file cannot be written to"):
        fetch(tmp_path / "file", server.serve("/a", whole(CONTENT)))
    assert server.asked == []


def test_every_entry_of_the_catalog_is_pinned() -> None:
    for name in ("dev", "train"):
        entry = find("hotpotqa", name)
        assert SHA256.fullmatch(entry.sha256)
        assert entry.size > 10**7
        assert "CC BY-SA 4.0" in entry.licence
        assert all(url.startswith(("http://", "https://")) for url in entry.urls)
        assert len(entry.urls) >= 2


def catalog_of(folder: Path, **fields: object) -> Path:
    lines = [
        f"{name} = {str(value)!r}" if isinstance(value, str) else f"{name} = {value}" for name, value in fields.items()
    ]
    lines += ["about = 'bytes'", "name = 'data.json'"]
    head = ["[made]", "title = 'Made-up data'", "licence = 'CC BY-SA 4.0'", "[made.parts.dev]"]
    (folder / "catalog.toml").write_text("\n".join([*head, *lines, ""]))
    return folder / "catalog.toml"


def test_the_command_fetches_a_file_and_prints_its_licence_and_path(
    server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.serve("/a", whole(CONTENT))
    known = catalog_of(tmp_path, size=len(CONTENT), sha256=DIGEST, urls=[server.address + "/gone"])
    monkeypatch.setattr(catalog.find, "__defaults__", (known,))
    assert main(["data", "get", "made", "--url", url, "--folder", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "licence: CC BY-SA 4.0" in told
    assert f"{tmp_path}/out/made/data.json: 300,000 bytes, SHA-256 {DIGEST}" in told
    assert (tmp_path / "out" / "made" / "data.json").read_bytes() == CONTENT


def test_without_a_known_hash_a_file_is_fetched_only_with_the_users(
    server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = catalog_of(tmp_path, urls=[server.serve("/a", whole(CONTENT))])
    monkeypatch.setattr(catalog.find, "__defaults__", (known,))
    get = ["data", "get", "made", "--folder", str(tmp_path)]
    assert main(get) == 2
    assert "no SHA-256 is known for data.json: --sha256 HEX says what it must be" in capsys.readouterr().err
    assert server.asked == []
    assert main([*get, "--sha256", "0" * 64]) == 1
    assert f"SHA-256 {DIGEST}, not {'0' * 64}: refused" in capsys.readouterr().err
    assert not (tmp_path / "made" / "data.json").exists()
    assert main([*get, "--sha256", DIGEST.upper()]) == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("get hotpot", "unknown data set 'hotpot' (choose from hotpotqa); did you mean 'hotpotqa'?"),
        ("get hotpotqa --part tran", "unknown part of hotpotqa 'tran' (choose from dev, train); did you mean 'train'?"),
        ("get hotpotqa --url file:///etc/passwd", "--url file:///etc/passwd is not an http or https address"),
        ("get hotpotqa --sha256 abc", "--sha256 abc is not a SHA-256: expected 64 hex digits"),
    ],
)
def test_wrong_use_is_told_in_one_line(flags: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *flags.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"retrieval-gap: {told}\n"
    assert captured.out == ""


def test_another_hash_applies_to_the_users_own_mirror_alone() -> None:
    known = find("hotpotqa", "dev")
    other = changed(known, "http://a.invalid/b", "A" * 64)
    assert (other.urls, other.sha256, other.size) == (("http://a.invalid/b",), "a" * 64, 0)
    assert changed(known, "http://a.invalid/b", "").urls == ("http://a.invalid/b", *known.urls)
    assert changed(known, "", known.sha256.upper()) == known
