"""A cache of replies on disk: one SQLite file, each reply committed when it arrives.

The key is the SHA-256 of the whole request as JSON with sorted keys.  A process killed at any moment loses only replies
that had not arrived; several processes of one machine may share a file.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from retrieval_gap.llm.request import AnswerScores, Completion
from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import make_room_for

REPLIES = "replies.sqlite"  # in the folder of runs: the replies to all of them
# Seconds that a process waits for another one's write.
PATIENCE = 60.0
SCHEMA = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, request TEXT NOT NULL, reply TEXT NOT NULL)"
T = TypeVar("T")
Kept = TypeVar("Kept", Completion, AnswerScores)


class Cache:
    """Raises RunError if the file is not a cache or cannot be written."""

    def __init__(self, path: Path) -> None:
        make_room_for(path)
        self._path = path
        self._database = self._guarded(lambda: sqlite3.connect(path, timeout=PATIENCE, isolation_level=None))
        # With a write-ahead log no reply has to wait for the disk: a killed process loses nothing, and a power cut at
        # most the last replies.
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", SCHEMA):
            self._execute(statement)

    def get(self, whole: dict[str, Any], kind: type[Kept]) -> Kept | None:
        """The stored reply of this kind to this request, None without one.

        In the first caches the key of a server's reply had only address and body.  Those replies are found too, except
        for a model with a name of its own: nothing in them shows which model answered.
        """
        found = self._execute("SELECT reply FROM replies WHERE key = ?", _key(whole))
        server = whole.get("server")
        if not found and server and "name" not in server:
            first = {key: value for key, value in whole.items() if key != "server"}
            found = self._execute("SELECT reply FROM replies WHERE key = ?", _key(first))
        try:
            return _reply(found[0][0], kind) if found else None
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged(error) from error

    def put(self, whole: dict[str, Any], reply: Completion | AnswerScores) -> None:
        self._execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", _key(whole), _text(whole), _text(asdict(reply))
        )

    def close(self) -> None:
        self._database.close()

    def _execute(self, statement: str, *values: str) -> list[Any]:
        return self._guarded(lambda: self._database.execute(statement, values).fetchall())

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.OperationalError as error:  # no space, no permission, locked for too long
            raise RunError(f"cache {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> RunError:
        return RunError(f"cache {self._path} is damaged ({error}); move it away to ask again what it held")


def _reply(text: str, kind: type[Kept]) -> Kept:
    """Raises ValueError, TypeError or AttributeError if this is not a reply of the kind."""
    values: Any = {k: tuple(value) if isinstance(value, list) else value for k, value in json.loads(text).items()}
    reply = kind(**values)
    if isinstance(reply, Completion):
        fits = isinstance(reply.text, str) and isinstance(reply.finished, bool)
    else:
        fits = all(isinstance(each, float) for each in reply.log_likelihoods)
    if not fits:
        raise ValueError("its values are of other types")
    return reply


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _key(whole: dict[str, Any]) -> str:
    return hashlib.sha256(_text(whole).encode()).hexdigest()
