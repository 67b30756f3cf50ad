"""One crawl of one contestant over the site, and turns of several."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks import execution
from benchmarks.contestants import Contestant, Job
from benchmarks.execution import Ended
from benchmarks.server import Hit, Site

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Crawl:
    """What a crawl did. `hits`: its requests for pages. `share`: what the site took of a core meanwhile."""

    ended: Ended
    hits: Sequence[Hit]
    share: float

    @property
    def rate(self) -> float:
        """Pages a second between the first and the last of them, as the site saw them."""
        return (len(self.hits) - 1) / self.seconds if self.seconds else 0.0

    @property
    def seconds(self) -> float:
        """From the first to the last page."""
        return self.hits[-1].at - self.hits[0].at if self.hits else 0.0


def crawl(
    site: Site,
    contestant: Contestant,
    job: Job,
    limit: float,
    *,
    is_enough: Callable[[], bool] | None = None,
    is_resumed: bool = False,
) -> Crawl:
    """Run a job with a contestant; a new job begins with an empty folder and an empty log."""
    if not is_resumed:
        shutil.rmtree(job.folder, ignore_errors=True)
        site.reset()
    before, _ = site.load()
    command, environment = contestant.command(job), contestant.environment(job)
    ended = execution.run(command, job.folder, limit, environment=environment, is_enough=is_enough)
    after, _ = site.load()
    hits = [hit for hit in site.log() if hit.path != "/robots.txt"]
    seconds = hits[-1].at - hits[0].at if hits else 0.0
    return Crawl(ended, hits, (after - before) / seconds if seconds else 0.0)


def in_turns(
    contestants: Sequence[Contestant], turns: int, measure: Callable[[Contestant], T]
) -> Mapping[str, list[T]]:
    """A measurement of each contestant, then of each once more, and so on: what ails the machine ails all."""
    found: dict[str, list[T]] = {each.name: [] for each in contestants}
    for turn in range(1, turns + 1):
        for each in contestants:
            print(f"  turn {turn} of {turns}: {each.label}", flush=True)
            found[each.name].append(measure(each))
    return found
