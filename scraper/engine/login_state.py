"""The login of a domain during a run: when it is renewed, and when it is given up."""

from enum import StrEnum

MOST_VAIN = 3


class Step(StrEnum):
    """What a page that no longer knows us means."""

    RENEW = "renew"  # log in once more, then ask for the page first
    LATER = "later"  # ask for other pages before this one
    STRANGE = "strange"  # this page knows nobody like us
    GIVE_UP = "give up"  # the login does not hold


class LoginState:
    """Whether we are known, as far as pages show it.

    A login that has held is renewed, and the page that missed it comes first. If it is refused right after
    the login, others go before it: is the next one refused too, the login is, else only this page. A site
    that lets everybody see some pages would look as if each renewal held; so those in vain are counted.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._holds = True
        self._has_held = False
        self._vain = 0
        self._waiting: set[int] = set()
        self._doubted: set[int] = set()
        self._strangers: set[int] = set()

    def renewed(self) -> None:
        """A login went through; whether it holds is for the next page to show."""
        self.is_lost = self._holds = False
        self._doubted.clear()

    def shown(self, page: int) -> None:
        """A page was as it is for members, or as it is for all."""
        self._holds = self._has_held = True
        if page in self._waiting:
            self._vain = 0
            self._waiting.discard(page)

    def missed(self, page: int) -> Step:
        """A page no longer knew us."""
        if self.is_lost:
            return Step.RENEW
        if page in self._strangers and (self._holds or (self._has_held and page in self._doubted)):
            return Step.STRANGE
        if self._holds:
            return self._lose(page)
        if self._doubted:
            return Step.GIVE_UP
        self._vain += 1
        self._doubted.add(page)
        self._strangers.add(page)
        return Step.LATER

    def _lose(self, page: int) -> Step:
        if self._vain >= MOST_VAIN:
            return Step.GIVE_UP
        self.is_lost = True
        self._waiting.add(page)
        return Step.RENEW
