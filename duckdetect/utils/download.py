"""Getting a file over HTTP: resumed, checked, and put in place whole.

What goes wrong is a DownloadError, one line that says which place and why, so that a caller
(models/weights.fetch) can try the next place and tell the user about all of them.

    download("https://host/model.tar.gz", "cache/model.tar.gz", sha256="ab12...")

While a download runs, `model.tar.gz.part` holds the bytes and `model.tar.gz.part.json` says which
file on which server they belong to; the next call goes on from there. Two downloads to one target
at a time would spoil each other's part: the caller holds a lock (models/weights.fetch does).
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError
from duckdetect.utils.files import file_sha256, make_folder, write_json
from duckdetect.utils.progress import progress_bar
from duckdetect.utils.reading import read_bytes
from duckdetect.utils.room import require_disk
from duckdetect.utils.schema import json_value

CHUNK_BYTES = 1 << 16  # also the most that a broken connection loses of what had arrived

PAUSE_SECONDS = 0.5  # before the first retry; doubled for each one after


class DownloadError(UserError):
    """A place that did not give the file; the text is one line: where and why."""


class _BrokenError(Exception):
    """An attempt that may go better next time; `opened`: whether the server had answered."""

    def __init__(self, reason: str, opened: bool = True) -> None:
        super().__init__(reason)
        self.opened = opened


def download(
    url: str,
    target: str | Path,
    sha256: str | None = None,
    progress: bool = True,
    connect_seconds: float = 8.0,
    stall_seconds: float = 30.0,
    retries: int = 5,
) -> Path:
    """Bring `url` to `target`, going on where an earlier call was interrupted.

    Args:
        url: An http or https address.
        target: The file to write; it appears only when it is complete and right.
        sha256: The sum in hex, where known; without one only the length is checked.
        progress: Whether a progress bar is shown on stderr.
        connect_seconds: How long to wait for the server's first answer, name look-up included.
        stall_seconds: How long a running download may bring nothing.
        retries: How often a download that broke off is resumed before this call gives up.

    Returns:
        `target`.

    Raises:
        DownloadError: If the server cannot be reached, refuses, keeps breaking off (what arrived is
            kept for the next call), or sends the wrong contents (which are deleted).
        UserError: If the target's folder cannot be written.
    """
    target = Path(target)
    make_folder(target.parent)
    part = target.with_name(target.name + ".part")
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(min(PAUSE_SECONDS * 2 ** (attempt - 1), 8.0))
        try:
            _continue(url, part, sha256 is not None, progress, connect_seconds, stall_seconds)
            break
        except _BrokenError as error:
            # A server that was never there is given up at once, since another place may follow.
            if not error.opened and attempt == 0:
                raise DownloadError(f"{url}: {error}") from error
            reason = str(error)
    else:
        raise DownloadError(f"{url}: {reason}, in {retries + 1} attempts; a new call resumes it")
    if sha256 is not None and (found := file_sha256(part)) != sha256:
        _forget(part)
        raise DownloadError(
            f"{url}: wrong contents (sha256 expected {sha256}, found {found}), deleted again"
        )
    part.replace(target)
    _forget(part)
    return target


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def _read_note(url: str, part: Path, sum_is_known: bool) -> dict[str, Any]:
    """What is known of the part that is there: {} if it cannot be told to be part of `url`."""
    try:
        note = json_value(read_bytes(_note_path(part)))
        # Without an ETag or a date only a known sum can tell whether the halves belong together.
        if note["url"] == url and (note["validator"] or sum_is_known) and part.stat().st_size:
            return dict(note)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def _continue(
    url: str,
    part: Path,
    sum_is_known: bool,
    progress: bool,
    connect_seconds: float,
    stall_seconds: float,
) -> None:
    """One attempt: ask for what is missing of `part` and append it."""
    import urllib3

    note = _read_note(url, part, sum_is_known)
    have = part.stat().st_size if note else 0
    if have and have == note["size"]:
        return
    # Compressed on the way, a file's bytes could not be counted or resumed.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if note["validator"]:
            headers["If-Range"] = note["validator"]
    with _open(url, headers, connect_seconds, stall_seconds) as response:
        etag = response.headers.get("ETag", "")
        # If-Range must not hold a weak ETag (RFC 9110, 13.1.5); the date serves then.
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        length = response.headers.get("Content-Length", "")
        size = int(length) + have if length.isdecimal() else None
        if response.status_code == 206:
            expected = f"bytes {have}-"
            same = validator == note.get("validator") and size == note.get("size")
            if not (same and response.headers.get("Content-Range", "").startswith(expected)):
                _forget(part)
                raise _BrokenError("the file changed on the server while it was fetched")
        elif response.status_code == 416:
            _forget(part)
            raise _BrokenError("the server has less of the file than was fetched before")
        elif response.status_code == 429 or response.status_code >= 500:  # it may pass
            raise _BrokenError(f"HTTP {response.status_code} {response.reason}", opened=False)
        elif response.status_code != 200:
            raise DownloadError(f"{url}: HTTP {response.status_code} {response.reason}")
        else:  # from the start: the first call, no ranges there, or the file has changed
            size = size - have if size is not None else None
            have = 0
            part.unlink(missing_ok=True)
            write_json(_note_path(part), {"url": url, "validator": validator, "size": size})
        if size is not None:
            cure = "make room, or set DUCKDETECT_CACHE to another place"
            require_disk(part.parent, size - have, f"{url} needs", cure)
        with (
            part.open("ab") as file,
            progress_bar(
                desc=part.name.removesuffix(".part"),
                total=size,
                initial=have,
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            while True:
                try:
                    block = response.raw.read(CHUNK_BYTES, decode_content=False)
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    total = f" of {size:,}" if size is not None else ""
                    what = (
                        f"nothing came for {stall_seconds:g} s"
                        if isinstance(error, urllib3.exceptions.ReadTimeoutError)
                        else "the connection broke off"
                    )
                    raise _BrokenError(f"{what} after {file.tell():,}{total} bytes") from error
                if not block:
                    return
                try:
                    file.write(block)
                except OSError as error:
                    raise UserError(f"{part} cannot be written ({error.strerror})") from error
                bar.update(len(block))


def _open(url: str, headers: dict[str, str], connect_seconds: float, stall_seconds: float) -> Any:
    """Send the request and wait for the answer's head, at most `connect_seconds` in all.

    The limit is kept here, with a thread, because a socket's own counts again for each address of a
    host (this zoo has a dozen) and not at all for looking its name up.
    """
    import requests
    import urllib3

    if requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)):
        connect_seconds = stall_seconds  # a proxy that scans files answers only after the last byte
    answer: Future[Any] = Future()

    def ask() -> None:
        timeouts = (connect_seconds / 2, stall_seconds)
        try:
            answer.set_result(requests.get(url, headers=headers, stream=True, timeout=timeouts))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(connect_seconds)
    except TimeoutError as error:
        answer.add_done_callback(lambda late: late.exception() or late.result().close())
        raise _BrokenError(f"no answer within {connect_seconds:g} s", opened=False) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _BrokenError(_reason(error), opened=False) from error


def _reason(error: BaseException) -> str:
    """The innermost cause in a few words; requests wraps it in three layers of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved (no network?)"
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())
