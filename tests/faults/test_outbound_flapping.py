"""FAULTS 22: a primary that comes back and goes away again, and again: no storm, and one alarm for each real outage."""

from __future__ import annotations

import smtplib
import threading

from fallback_mx.smtp.sink import Act, Answer, SinkSession
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary

MESSAGES = 30
FLAPS = 3


class Flapping:
    """After each return it takes one message, and goes away at the second."""

    def __init__(self) -> None:
        self.is_away = threading.Event()
        self.is_well = False
        self.taken = 0
        self.offered: list[int] = []  # transactions in each life

    def banner(self, session: SinkSession, _: str) -> Answer:
        return Act.DROP if self.is_away.is_set() else None

    def mail(self, session: SinkSession, _: str) -> Answer:
        self.offered[-1] += 1
        return None

    def final(self, session: SinkSession, _: str) -> Answer:
        if self.is_well:
            return None
        self.taken += 1
        if self.taken > 1:
            self.is_away.set()
            return Act.DROP
        return None

    def come_back(self) -> None:
        self.taken = 0
        self.offered.append(0)
        self.is_away.clear()


def alarms(relay: Relay) -> int:
    return relay.log_file.read_text().count("event=outage_started")


def test_a_flapping_primary_gets_a_canary_each_time_and_makes_one_alarm_an_outage() -> None:
    flapping = Flapping()
    with FakePrimary() as fake, Relay(primary(fake.port, interval="200ms", fall=3)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        flapping.is_away.set()
        fake.sink.replies = {"banner": flapping.banner, "mail": flapping.mail, "final": flapping.final}
        relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
        with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="client.test") as client:
            for number in range(MESSAGES):
                client.sendmail("a@sender.test", [f"user{number}@{DOMAIN}"], f"Subject: {number}\r\n\r\n")

        for flap in range(1, FLAPS + 1):
            flapping.come_back()
            relay.wait_for(flapping.is_away.is_set, "it has taken one message and gone away")
            relay.wait_for(lambda flap=flap: alarms(relay) > flap, "the next outage is noticed")
        flapping.is_well = True
        flapping.come_back()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")

        # The canary, two connections after it, and behind each of these one announced.
        assert all(1 <= offered <= 5 for offered in flapping.offered[:-1]), flapping.offered
        arrived = sorted(message.forward_paths[0] for message in fake.messages)
        assert arrived == sorted(f"user{number}@{DOMAIN}" for number in range(MESSAGES))
        assert alarms(relay) == len(relay.outages()) == FLAPS + 1


def test_a_failure_that_is_over_at_the_next_look_makes_no_alarm() -> None:
    failures = iter([Act.DROP, Act.DROP])

    def banner(session: SinkSession, _: str) -> Answer:
        return next(failures, None)

    with FakePrimary() as fake, Relay(primary(fake.port, interval="200ms", fall=3)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        fake.sink.replies = {"banner": banner}
        relay.wait_for(lambda: "now=falling" in relay.log_file.read_text(), "the failure is noticed")
        relay.wait_for(lambda: "before=falling now=up" in relay.log_file.read_text(), "it is up again")
        assert next(failures, None) is None
        assert alarms(relay) == 0
