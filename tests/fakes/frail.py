"""A primary with little room: it refuses a connection too many, and dies of far too many."""

from __future__ import annotations

from fallback_mx.smtp.sink import Answer, Sink, SinkSession


class FrailSink(Sink):
    """Serves `room` connections and answers 421 to the next. With `fatal` at once it has died, and serves nobody more.

    `most_served` is the largest number that it served at once.
    """

    def __init__(self, room: int, fatal: int) -> None:
        super().__init__(replies={"banner": self._greet})
        self._room = room
        self._fatal = fatal
        self._refused: set[SinkSession] = set()
        self.refused_count = 0
        self.most_served = 0
        self.has_died = False

    def _greet(self, session: SinkSession, _: str) -> Answer:
        served = self.connections - sum(not each.gone.done() for each in self._refused)
        self.has_died = self.has_died or self.connections >= self._fatal
        if self.has_died or served > self._room:
            self._refused.add(session)
            self.refused_count += 1
            return "421 4.7.0 Too many connections"
        self.most_served = max(self.most_served, served)
        return None
