"""The main job, with the real service as a process of its own: mail survives an outage of the primary."""

from __future__ import annotations

import smtplib
import threading
import time

from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary


def content(number: int, filling: bytes = b"x") -> bytes:
    return b"Subject: %d\r\n\r\n.dot\r\n\xe4 %s\r\n" % (number, filling)


def send(relay: Relay, *contents: bytes, recipients: tuple[str, ...] = ("u@example.test",)) -> list[str]:
    """Send these on one connection; the final replies."""
    replies = []
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=30) as client:
        client.ehlo()
        for each in contents:
            client.mail("a@sender.test", ["BODY=8BITMIME"])
            for recipient in recipients:
                client.rcpt(recipient)
            code, text = client.data(each)
            replies.append(f"{code} {text.decode()}")
    return replies


def without_trace(stored: bytes) -> bytes:
    """The content without the one Received line of ours."""
    assert stored.startswith(b"Received: from sender.test ([127.0.0.1])\r\n\tby relay.example.net")
    return stored.split(b"\r\n", 3)[3]


def is_in(relay: Relay, state: str) -> None:
    relay.wait_for(lambda: relay.primary_state() == state, f"the primary is {state}")


def test_mail_accepted_in_an_outage_arrives_once_and_byte_for_byte_when_the_primary_is_back() -> None:
    letters = [content(n, b"y" * (n * 37 % 998)) for n in range(60)] + [content(99, (b"z" * 990 + b"\r\n") * 3_000)]
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        replies = send(relay, *letters, recipients=("u@example.test", "v@example.test"))
        assert all(reply.startswith("250 2.0.0 Queued as ") for reply in replies)
        assert relay.queue_count() == len(letters)
        fake.answer()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        assert sorted(without_trace(each.content) for each in fake.messages) == sorted(letters)
        assert {each.forward_paths for each in fake.messages} == {("u@example.test", "v@example.test")}
        (outage,) = relay.outages()
        assert outage["ended_at"] is not None
        assert outage["cause"]["phase"] == "connect"
        assert outage["cause"]["detail"] == f"127.0.0.1 port {fake.port}: connection refused"


def test_mail_and_outage_survive_a_kill_in_the_middle_and_the_outage_is_one() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        send(relay, content(1))
        relay.kill()
        relay.start()
        is_in(relay, "down")
        fake.answer()
        relay.wait_for(lambda: len(fake.messages) == 1, "the message arrives")
        is_in(relay, "up")
        assert len(relay.outages()) == 1


def test_a_message_the_primary_took_just_before_a_kill_comes_twice_at_most() -> None:
    killed = threading.Event()
    relay: Relay

    def final(session: object, argument: str) -> None:
        # The sink keeps the message and answers 250: by then the relay is gone.
        if not killed.is_set():
            relay.kill()
            killed.set()

    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        send(relay, content(1))
        fake.sink.replies["final"] = final
        fake.answer()
        assert killed.wait(30)
        relay.start()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        assert [without_trace(each.content) for each in fake.messages] == [content(1)] * 2


def test_recipients_refused_deferred_and_taken_in_one_message_have_three_outcomes() -> None:
    def rcpt(session: object, path: str) -> str | None:
        return {"bad@example.test": "550 5.1.1 no such user", "later@example.test": "450 4.2.1 later"}.get(path)

    with FakePrimary(replies={"rcpt": rcpt}) as fake, Relay(primary(fake.port, recovery_guard="0s")) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        send(relay, content(1), recipients=("u@example.test", "bad@example.test", "later@example.test"))
        fake.answer()
        relay.wait_for(lambda: len(fake.messages) == 1, "the message arrives")
        relay.wait_for(lambda: relay.cli_json_lines("queue", "list") != [], "settled")

        def states() -> dict[str, tuple[str, int, str]]:
            (line,) = relay.cli_json_lines("queue", "list")
            return {
                each["forward_path"]: (each["state"], each["attempts"], each["last_reply"])
                for each in line["recipients"]
            }

        relay.wait_for(lambda: states()["u@example.test"][0] == "delivered", "the outcomes are on record")
        assert states()["bad@example.test"] == ("held", 1, "550 5.1.1 no such user")
        assert states()["later@example.test"] == ("pending", 1, "450 4.2.1 later")


def test_a_hold_by_the_command_line_keeps_mail_back_and_a_release_lets_it_go_while_the_service_runs() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        first, second = (reply.split()[-1] for reply in send(relay, content(1), content(2)))
        relay.cli("queue", "hold", first, "--reason", "look at it first")
        fake.answer()
        relay.wait_for(lambda: len(fake.messages) == 1, "the other message arrives")
        assert without_trace(fake.messages[0].content) == content(2)
        relay.wait_for(lambda: relay.queue_count() == 1, "the other message is settled")
        relay.restart()
        is_in(relay, "up")
        assert [line["id"] for line in relay.cli_json_lines("queue", "list")] == [first], "an edit outlives a restart"
        relay.cli("queue", "release", first)
        relay.wait_for(lambda: len(fake.messages) == 2, "the released message arrives")
        assert second != first


def test_a_removed_message_is_not_delivered_and_the_ledger_says_who_and_why() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        fake.go_away()
        is_in(relay, "down")
        (queue_id,) = (reply.split()[-1] for reply in send(relay, content(1)))
        relay.cli("queue", "remove", queue_id, "--yes", "--reason", "spam wave")
        assert relay.queue_count() == 0
        story = relay.cli("queue", "show", queue_id)
        assert "spam wave" in story
        fake.answer()
        is_in(relay, "up")
        assert fake.messages == []


def test_sigterm_in_the_middle_of_everything_loses_nothing_and_exits_0() -> None:
    """FAULTS 13: sessions are told 421, deliveries are finished or released."""
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
        is_in(relay, "up")
        taken: list[bytes] = []
        endings: list[str] = []

        def sender(number: int) -> None:
            try:
                for count in range(10_000):
                    each = content(number * 10_000 + count)
                    replies = send(relay, each)
                    if replies[0].startswith("250"):
                        taken.append(each)
            except (smtplib.SMTPException, OSError) as error:
                endings.append(type(error).__name__)

        senders = [threading.Thread(target=sender, args=(number,)) for number in range(6)]
        idle = smtplib.SMTP("127.0.0.1", relay.port, timeout=30)
        idle.ehlo("idle.test")
        for each in senders:
            each.start()
        relay.wait_for(lambda: len(fake.messages) > 20, "mail flows")
        relay.stop()
        for each in senders:
            each.join()
        assert len(endings) == len(senders)
        assert idle.getreply()[0] == 421
        relay.start()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        arrived = sorted(without_trace(each.content) for each in fake.messages)
        assert len(arrived) == len(set(arrived)), "a message arrived twice"
        assert set(taken) <= set(arrived), "a message answered 250 is lost"


def test_sighup_takes_new_settings_and_an_invalid_file_keeps_the_old_ones() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        fake.go_away()
        is_in(relay, "down")
        good = relay.config_file.read_text()
        relay.config_file.write_text(good.replace('"example.test"', '"example.test", "new.test"'))
        hang_up(relay)
        relay.wait_for(lambda: "config_reloaded" in relay.log_tail(200), "the new settings are in force")
        assert send(relay, content(1), recipients=("u@new.test",))[0].startswith("250")
        relay.config_file.write_text(good.replace('"500ms"', '"soon"'))
        hang_up(relay)
        relay.wait_for(lambda: "config_rejected" in relay.log_tail(200), "the invalid file is refused")
        assert "interval" in relay.log_tail(200)
        assert send(relay, content(2), recipients=("u@new.test",))[0].startswith("250")


def hang_up(relay: Relay) -> None:
    import os
    import signal

    os.kill(relay.pid, signal.SIGHUP)
    time.sleep(0.1)
