"""What is wanted of Kinetics, and what came of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidbench.data.fetch.cvdf import CVDF, check_split
from vidbench.data.fetch.gate import ASIDE
from vidbench.data.fetch.missing import MISSING, in_short
from vidbench.machine import usable_cpus
from vidbench.utils import UserError, printable, readable_bytes

MOST_VERIFIERS = 8


@dataclass(frozen=True)
class KineticsFetch:
    """What is wanted of Kinetics, and how it is fetched.

    num_videos: until so many clips are in the folder, those that lie there counted; 0: all. classes: of these only.
    order: "first" reads archives in a seeded order, clips as they come; "random" takes a seeded random sample of the
    annotated clips. base_url: of a mirror, laid out as CVDF's host. max_bytes: received by one call, at most.
    replacements: Kinetics-400's, for corrupt train clips. retry_failed: also clips that were bad before.
    """

    version: str
    split: str
    folder: Path
    num_videos: int = 0
    classes: Sequence[str] = ()
    seed: int = 0
    order: str = "first"
    jobs: int = 1
    base_url: str = CVDF
    replacements: bool = False
    keep_archives: bool = False
    max_bytes: float | None = None
    retry_failed: bool = False
    decode_timeout: float = 60.0
    progress: bool = True

    def __post_init__(self):
        check_split(self.version, self.split)
        if self.order not in ("first", "random"):
            raise UserError(f"the order must be first or random, got {self.order!r}")
        if self.replacements and (self.version, self.split) != ("400", "train"):
            raise UserError("--replacements are clips of Kinetics-400's train split")
        if not self.base_url.endswith("/"):
            object.__setattr__(self, "base_url", f"{self.base_url}/")

    @property
    def goal(self) -> float:
        """How many clips are enough."""
        return self.num_videos or float("inf")

    @property
    def workers(self) -> int:
        """Processes that verify clips."""
        return max(self.jobs, min(MOST_VERIFIERS, usable_cpus()))


@dataclass
class Harvested:
    """What came of it; problems: archives that could not be read to their end; problem: what ended it all."""

    new: int = 0
    received_bytes: int | None = 0  # None where nobody counted
    bad: dict[str, str] = field(default_factory=dict)  # key → reason
    refused: Counter = field(default_factory=Counter)  # members of archives, by kind
    problems: list[str] = field(default_factory=list)
    problem: Exception | None = None


@dataclass
class Outcome:
    """What a fetch came to: `annotated` clips in all, `wanted` of the chosen classes, `here` verified ones of these.

    unlisted: clips among those here that the annotations lack; their archive told the class.
    """

    fetch: KineticsFetch
    annotated: int
    wanted: int
    here: int
    unlisted: int = 0
    got: Harvested = field(default_factory=Harvested)
    missing: dict[str, str] = field(default_factory=dict)  # key → why

    def lines(self) -> list[str]:
        """What to tell, the counts first."""
        asked = self.fetch.num_videos
        of = f" of {asked or self.wanted + self.unlisted:,}" if not 0 < asked < self.here else ""
        received = self.got.received_bytes
        lines = [
            f"kinetics-{self.fetch.version} {self.fetch.split}: {self.here:,}{of} clips are here and verified"
            + ("" if of else f", {asked:,} were asked for")
            + f" ({self.wanted:,} annotated"
            + (f" in these classes, {self.annotated:,} in all" if self.fetch.classes else "")
            + (f"; {self.unlisted:,} that the annotations lack" if self.unlisted else "")
            + f"); {self.got.new:,} new"
            + ("" if received is None else f", {readable_bytes(received)} received")
        ]
        if self.got.bad:
            lines.append(f"bad or refused; files that came are put aside in {ASIDE}: {in_short(self.got.bad)}")
        if self.got.refused:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.got.refused.items()))
            lines.append(f"refused in archives: {kinds}")
        told = str(self.error())  # comes last, on its own
        lines += [f"archive not read to its end: {problem}" for problem in self.got.problems if problem not in told]
        if self.missing:
            lines.append(f"missing {len(self.missing):,}, named in {MISSING}: {in_short(self.missing)}")
        return [printable(line) for line in lines]

    def error(self) -> Exception | None:
        """Why fewer clips are here than were asked for, None where they are not, or there are no more."""
        if self.here >= self.fetch.goal:
            return None
        if self.got.problem or not self.got.problems:
            return self.got.problem
        return UserError(f"{self.got.problems[0]}; what was fetched is kept, the same call goes on")

    def check(self) -> None:
        """Raise `error` where there is one."""
        if error := self.error():
            raise error
