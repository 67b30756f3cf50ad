"""The URLs of a run in memory, and what one visit makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from scraper.model import (
    Deferred,
    Denied,
    Entry,
    Failed,
    Fetched,
    Known,
    NewUrl,
    Redirected,
    Refusal,
    Retry,
    Unchanged,
    Visit,
)
from scraper.store import MOST_REFUSED, UNMET, Run
from scraper.store.memory.tables import Domain, Look, Page, Tables, Url
from scraper.store.other_meta import has_other_meta
from scraper.store.visits import barred_links, barred_of


class Frontier:
    """What a settlement does, row by row, in the words of the contract."""

    def __init__(self, data: Tables) -> None:
        self._data = data
        self.other_meta: list[str] = []

    def meet(self, run: Run, new: NewUrl, *, is_hop: bool = False) -> tuple[int, bool]:
        """The URL's id, and whether it became pending."""
        data, place = self._data, (run.spider, new.domain, new.fp)
        data.domains.setdefault(new.domain, Domain())
        if place not in data.places:
            found = data.places[place] = data.next()
            data.urls[found] = Url(found, run.spider, new, run.number, found, new.hops)
            return found, True
        found = data.places[place]
        url = data.urls[found]
        if url.run == run.number and not (is_hop and url.state == "redirected"):
            if has_other_meta(new.request, url.new.request):
                self.other_meta.append(new.url)
            return found, False
        data.urls[found] = Url(found, run.spider, new, run.number, data.next(), new.hops)
        return found, True

    def is_in_hand(self, run: Run, visit: Visit, taken: Mapping[int, int]) -> bool:
        url = self._data.urls.get(visit.entry.id)
        if url is None or (url.state, url.run) != ("pending", run.number):
            return False
        return taken.get(url.id) == url.seq

    def is_known(self, url: Url) -> bool:
        """Whether the last good run has met the page."""
        accepted = [run for run in self._data.runs.values() if run.spider == url.spider and run.is_accepted]
        whole = max((run.number for run in accepted if run.is_whole), default=0)
        good = {whole} if whole else {run.number for run in accepted}
        return any(look.url == url.id and look.run in good for look in self._data.looks)

    def entry(self, run: Run, url: Url) -> Entry:
        new, page = url.new, self._data.pages.get(url.id)
        known = None
        if page is not None:
            made_by = self._data.runs.get(page.run)
            if made_by is None or made_by.is_accepted or made_by.number == run.number:
                known = replace(
                    page.known,
                    is_noarchive="noarchive" in page.facts,
                    records=len(self._data.records.get(page.known.version, ())),
                    links=len(page.links),
                )
        numbers = (new.depth, url.hops, url.attempts, new.priority)
        return Entry(url.id, new.domain, new.fp, new.url, new.request, *numbers, known, url.crashes)

    def end(self, run: Run, visit: Visit) -> None:
        url = self._data.urls[visit.entry.id]
        match visit.outcome:
            case Fetched(_, records):
                url.state, url.reason = "done", None
                self._bar(run, url.id, self._barred(run, visit))
                self._data.records[self._look(run, url.id, -1)] = records
            case Unchanged(known):
                self._renew(run, url, known)
            case Redirected(to):
                if (to.domain, to.fp) == (url.new.domain, url.new.fp):
                    spelled = replace(url.new, url=to.url, request=to.request, priority=to.priority)
                    url.new, url.hops, url.reason, url.seq = spelled, to.hops, None, self._data.next()
                else:
                    url.state, url.reason = "redirected", None
                    self._look(run, url.id, None)
            case Retry(reason, counts):
                url.attempts, url.reason, url.seq = url.attempts + counts, reason, self._data.next()
            case Deferred(reason):
                url.reason = reason
            case Denied() | Failed():
                self._give_up(run, url, visit.outcome)
            case other:
                assert_never(other)

    def _give_up(self, run: Run, url: Url, outcome: Denied | Failed) -> None:
        url.state, url.reason = "denied" if isinstance(outcome, Denied) else "failed", outcome.reason
        if isinstance(outcome, Failed) and outcome.records:
            self._data.records[self._look(run, url.id, -1)] = outcome.records
            self._data.pages.pop(url.id, None)
            return
        is_gone = isinstance(outcome, Failed) and outcome.is_gone
        version = None if is_gone else self._kept_version(run, url.id)
        self._look(run, url.id, version, is_read=is_gone)

    def _renew(self, run: Run, url: Url, known: Known) -> None:
        page = self._data.pages.get(url.id)
        if page is None:
            url.seq, url.reason = self._data.next(), "the last version is gone"
            return
        url.state, url.reason = "done", None
        self._bar(run, url.id, barred_of(page.links))
        version = page.known.version
        known = replace(known, version=version, inputs=page.known.inputs, files=page.known.files)
        self._data.pages[url.id] = replace(page, known=known, checked=run.number)
        self._look(run, url.id, version)

    def follow(self, run: Run, visit: Visit) -> int:
        outcome = visit.outcome
        if isinstance(outcome, Fetched):
            met = [self.meet(run, link) for link in outcome.links]
            version = self._kept_version(run, visit.entry.id) or 0
            barred = (-found for found in self._barred(run, visit))
            links = tuple(dict.fromkeys((*(found for found, _ in met), *barred)))
            known = replace(outcome.known, version=version)
            page = Page(known, run.number, run.number, links, outcome.facts)
            self._data.pages[visit.entry.id] = page
            return sum(is_new for _, is_new in met)
        if isinstance(outcome, Failed):
            return sum(self.meet(run, link)[1] for link in outcome.links)
        if isinstance(outcome, Redirected):
            is_itself = (outcome.to.domain, outcome.to.fp) == (visit.entry.domain, visit.entry.fp)
            return 0 if is_itself else self.meet(run, outcome.to, is_hop=True)[1]
        is_kept = isinstance(outcome, Unchanged) or (isinstance(outcome, Denied) and outcome.keeps_links)
        if is_kept and visit.entry.id in self._data.pages:
            links = self._data.pages[visit.entry.id].links
            return sum(self._meet_again(run, found) for found in links)
        return 0

    def _barred(self, run: Run, visit: Visit) -> list[int]:
        """Those links that nofollow bars and that are known."""
        places = ((run.spider, link.domain, link.fp) for link in barred_links(visit))
        return [found for place in places if (found := self._data.places.get(place))]

    def _bar(self, run: Run, url: int, barred: Sequence[int]) -> None:
        if barred:
            self._look(run, url, None, is_read=False)

    def _meet_again(self, run: Run, found: int) -> bool:
        url = self._data.urls.get(found)
        if url is None or url.run == run.number:
            return False
        self._data.urls[found] = Url(found, url.spider, url.new, run.number, self._data.next(), 0)
        return True

    def keep_unreached_pages(self, run: Run, base: int) -> int:
        unread = [look.url for look in self._data.looks if look.run == run.number and not look.is_read]
        count = 0
        for source in unread:  # grows
            page = self._data.pages.get(source)
            for found in map(abs, page.links if page else ()):
                version = self._current(found, base)
                url = self._data.urls.get(found)
                if url is not None and url.run != run.number and version is not None:
                    url.run, url.state, url.reason = run.number, "failed", UNMET
                    self._look(run, found, version, is_read=False)
                    unread.append(found)
                    count += 1
        return count

    def reopen(self, run: Run) -> int:
        met = [url for url in self._data.urls.values() if (url.spider, url.run) == (run.spider, run.number)]
        failed = [url for url in met if url.state == "failed" and url.reason != UNMET]
        for url in met if failed else ():
            url.run -= url.state == "failed" and url.reason == UNMET
        for url in sorted(failed, key=lambda url: url.seq):
            url.state, url.reason, url.seq = "pending", None, self._data.next()
            url.attempts = url.crashes = 0
        ids = {url.id for url in failed}
        self._data.looks = [
            look for look in self._data.looks if look.run != run.number or look.url not in ids
        ]
        return len(failed)

    def _current(self, url: int, base: int) -> int | None:
        for look in reversed(self._data.looks):
            if look.url == url and look.run >= base and self._data.runs[look.run].is_accepted:
                return look.version
        return None

    def refuse(self, run: Run, visit: Visit) -> list[Refusal]:
        if not isinstance(visit.outcome, Fetched | Failed):
            return []
        new = []
        for refusal in visit.outcome.refused:
            place = run.number, refusal.url if refusal.links == 1 else f"{refusal.url} {refusal.reason}"
            if place not in self._data.refused:
                named = sum(number == run.number for number, _ in self._data.refused)
                self._data.refused.add(place)
                new.append(refusal if named < MOST_REFUSED else replace(refusal, url=""))
        return new

    def _look(self, run: Run, url: int, version: int | None, *, is_read: bool = True) -> int:
        """Keep a visit; -1 stands for a version of its own. None forgets what is known of the page."""
        number = self._data.next()
        self._data.looks.append(Look(number, run.number, url, number if version == -1 else version, is_read))
        if version is None and is_read:
            self._data.pages.pop(url, None)
        return number

    def _kept_version(self, run: Run, url: int) -> int | None:
        for look in reversed(self._data.looks):
            if look.url == url and (look.run == run.number or self._data.runs[look.run].is_accepted):
                return look.version
        return None
