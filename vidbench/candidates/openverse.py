"""Openverse's image search (https://api.openverse.org): openly licensed pictures, with author, licence and source.

Without a key a page has at most 20 results and a search at most 20 pages (lately 12: 240 results; each answer says how
many), 20 searches a minute and 200 a day are answered, and 429 with Retry-After is sent beyond. Source: the service's
code, https://github.com/WordPress/openverse (api/api/serializers, api/conf/settings), and its answers' headers
X-RateLimit-Limit-anon_burst and -anon_sustained.
"""

import email.utils
import hashlib
import json
import logging
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from vidbench import __version__
from vidbench.data.fetch.http import BUSY, DROPPED, Unreachable, request
from vidbench.utils import UserError, readable_seconds, unknown, written_whole

log = logging.getLogger(__name__)
PUBLIC = "https://api.openverse.org/v1/"
LICENSES = ("by", "by-nc", "by-nc-nd", "by-nc-sa", "by-nd", "by-sa", "cc0", "nc-sampling+", "pdm", "sampling+")
AGENT = {"User-Agent": f"vidbench/{__version__} (images of actions for a classifier; Python)"}
PAGE_SIZE, MOST_PAGES = 20, 20
PAGE_BYTES = 4 << 20  # a page has some 60 kB
MOST_TEXT = 2000  # characters of a title or an address
BETWEEN_SECONDS = 1.0  # two searches begin at least so far apart
TRIES, UNREACHED_TRIES = 5, 2  # of a busy service; of one that does not answer at all
LONGEST_WAIT = 120.0  # seconds: told to wait longer, as when the day's searches are used up, it ends


@dataclass(frozen=True)
class Found:
    """One result of a search; all texts as the service says them."""

    id: str
    url: str
    title: str
    creator: str
    license: str
    license_version: str
    license_url: str
    landing_page: str
    source: str
    mature: bool = False


class Openverse:
    """The search. Pages that were fetched are kept in `folder`: a call that goes on asks for none of them again.

    licenses: of `LICENSES`, none for all; say: is told of waits; wait: how to wait
    Raises UserError for a license or an address that can be none.
    """

    def __init__(
        self,
        folder: Path,
        base_url: str = PUBLIC,
        licenses: tuple[str, ...] = (),
        say: Callable[[str], None] = log.info,
        wait: Callable[[float], None] = time.sleep,
    ):
        for name in licenses:
            if name not in LICENSES:
                raise unknown("license", name, LICENSES)
        if not re.match(r"https?://[^/\[\]]+(/|$)", base_url):
            raise UserError(f"a search's address is such as {PUBLIC}, not {base_url!r}")
        self.folder, self.licenses = Path(folder), licenses
        self.base_url = base_url.rstrip("/").removesuffix("/images") + "/"
        self.say, self.wait = say, wait
        self._next = 0.0  # when the next search may begin

    def images(self, query: str) -> Iterator[Found]:
        """All results for search words that the service gives, the best first.

        Raises UserError where the service gives no more for now, refuses, or cannot be reached.
        """
        for page in range(1, MOST_PAGES + 1):
            found, pages = self._page(self._address(query, page), page)
            yield from found
            if not found or page >= pages:
                return

    def _address(self, query: str, page: int) -> str:
        words = {"q": query, "page": page, "page_size": PAGE_SIZE, "extension": "jpg,jpeg,png", "mature": "false"}
        if self.licenses:
            words["license"] = ",".join(self.licenses)
        return f"{self.base_url}images/?{urllib.parse.urlencode(words)}"

    def _page(self, address: str, page: int) -> tuple[list[Found], int]:
        """The results of a page, and how many pages there are."""
        kept = self.folder / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.json"
        try:
            record = json.loads(kept.read_text(encoding="utf-8"))
            return [Found(**item) for item in record["results"]], record["pages"]
        except (OSError, ValueError, TypeError, KeyError):
            pass  # not kept, or by another version
        try:
            answer = self._asked(address)
        except Unreachable as problem:
            if page == 1 or problem.status not in (400, 401, 404):
                raise UserError(f"{self.base_url}images/ refuses the search: {_words(problem)}") from None
            answer = {"results": []}  # deeper than those without a key may look
        pages = answer.get("page_count")
        found = [_found(item) for item in answer["results"] if isinstance(item, dict)]
        record = {"address": address, "pages": pages if isinstance(pages, int) else MOST_PAGES}
        with written_whole(kept) as file:
            json.dump(record | {"results": [asdict(item) for item in found]}, file, indent=1)
        return found, record["pages"]

    def _asked(self, address: str) -> dict:
        """The answer to a search; a busy server is asked again. Raises Unreachable where it refuses, else UserError."""
        for tried in range(1, TRIES + 1):
            self.wait(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + BETWEEN_SECONDS
            try:
                with request(address, AGENT | {"Accept": "application/json"}, tries=1) as response:
                    return self._read(response.read(PAGE_BYTES))
            except Unreachable as problem:
                if problem.status is not None and problem.status not in BUSY:
                    raise
                pause, words = _asked_pause(problem), _words(problem)
                limit = TRIES if problem.status else UNREACHED_TRIES
            except DROPPED as problem:  # half an answer
                pause, words, limit = None, str(problem), TRIES
            if pause is not None and pause > LONGEST_WAIT:
                when = readable_seconds(pause)
                raise UserError(f"{self.base_url} takes no more searches for now ({words}), but again in {when}")
            if tried >= limit:
                raise UserError(f"{self.base_url} gave no answer, {tried} times: {words}")
            if pause:
                self.say(f"the search asks to wait {readable_seconds(pause)}")
            self.wait(2.0 ** (tried - 1) if pause is None else pause)
        raise AssertionError("not reached")

    def _read(self, data: bytes) -> dict:
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise UserError(f"{self.base_url}images/ gives no page of results: is it Openverse's API?")
        return answer


def _found(item: dict) -> Found:
    """A result, whatever else than texts stands where texts should."""
    names = {one.name: one.name for one in fields(Found)} | {"landing_page": "foreign_landing_url"}
    texts = {name: str(item.get(theirs) or "")[:MOST_TEXT] for name, theirs in names.items()}
    sound = {
        name: text.encode("utf-8", "replace").decode() for name, text in texts.items()
    }  # JSON may hold half a pair
    return Found(**sound | {"mature": bool(item.get("mature"))})


def _words(problem: Unreachable) -> str:
    cause = problem.__cause__
    return f"{problem.status or ''} {getattr(cause, 'reason', None) or cause}".strip()


def _asked_pause(problem: Unreachable) -> float | None:
    """Seconds that an answer's Retry-After asks for, a number or a date."""
    headers = getattr(problem.__cause__, "headers", None)
    text = (headers.get("Retry-After") if headers else None) or ""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
