"""What a process knows of a run without asking its database: queues, URLs, refused links."""

from dataclasses import field
from itertools import islice

from scraper.model.frozen import slotted
from scraper.store.met_urls import MetUrls

REMEMBERED = 200_000
AT_HAND = 100_000
LATELY = 20_000  # few enough to stay in the processor's cache
MOVED = 2_000  # at once, from those at hand to the others: it takes 3 ms, and few at a time take longer


@slotted
class Seen:
    """Queues by name, and URLs that the run has met, by fingerprint.

    Ids never change and a URL's run only grows while the run is open, so an answer from here cannot be
    outdated by another process. What a transaction has met may stand here only if it was committed.
    """

    queues: dict[tuple[str, str], int] = field(default_factory=dict)
    urls: dict[bytes, int] = field(default_factory=dict)  # those met first here, the last of them
    met: MetUrls = field(default_factory=MetUrls)  # those for which `urls` has no room
    lately: dict[bytes, int] = field(default_factory=dict)  # what links led to, wherever it was found
    ids: set[int] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)
    run: int = 0
    named: int = -1  # refused links of the run that the store has; -1: not counted yet

    def turn_to(self, run: int) -> None:
        """Forget everything if it was about another run."""
        if run != self.run:
            self.clear()
            self.run = run

    def clear(self) -> None:
        """Forget everything."""
        self.queues.clear()
        self.urls.clear()
        self.met.clear()
        self.lately.clear()
        self.ids.clear()
        self.refused.clear()
        self.named = -1

    def learn(self, met: dict[bytes, int]) -> None:
        """Know what the database says that the run has met."""
        self.lately |= met
        self.urls |= met
        self.ids.update(met.values())

    def trim(self) -> None:
        """Stay bounded. Starting anew is cheaper than keeping an order of use."""
        for some in (self.ids, self.refused, self.queues):
            if len(some) > REMEMBERED:
                some.clear()
        if len(self.lately) > LATELY:
            self.lately.clear()
        if (over := len(self.urls) - AT_HAND) >= MOVED:
            self.met.add({fp: self.urls.pop(fp) for fp in list(islice(self.urls, over))})
