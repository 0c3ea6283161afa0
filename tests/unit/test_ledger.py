"""Ledgers joined with mailboxes: what counts as lost, altered, twice there, put off; and the drill's own messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.site import ledger, postman
from tests.site.ledger import Message, Row

OK = "2.0.0 6AOABBwd001682 Message accepted for delivery"


def new(name: str) -> str:
    return json.dumps({"at": 1.0, "event": "new", "name": name, "to": "a@b", "size": 10, "sha256": "x"}) + "\n"


def reply(name: str, code: int, at: float, begin: float, text: str = "") -> str:
    entry = {"at": at, "event": "reply", "name": name, "attempt": 1, "begin": begin, "step": "end", "code": code, "text": text}
    return json.dumps(entry) + "\n"


def arrival(name: str, at: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "at": at, "size": 10, "sha256": "x", "place": "p", **more}


def test_a_message_is_known_by_its_first_attempt_and_its_last_reply() -> None:
    lines = [new("m-0"), reply("m-0", 452, 3.0, 2.0), reply("m-0", 0, 5.0, 4.0), reply("m-0", 250, 7.0, 6.0, OK)]
    assert ledger.messages(lines) == {"m-0": Message("m-0", 10, "x", begun=2.0, taken=7.0, code=250, reply=OK, deferred=2)}


def test_a_ledger_that_ends_amidst_a_line_is_read_up_to_there() -> None:
    assert ledger.messages([new("m-0"), reply("m-0", 250, 2.0, 1.0)[:-9]])["m-0"].taken == 0


def sent(*entries: tuple[str, int]) -> dict[str, Message]:
    return {
        name: Message(
            name, 10, "x", begun=1.0, taken=2.0 if code == 250 else 0.0, code=code, deferred=int(code != 250 and code < 500)
        )
        for name, code in entries
    }


def test_what_was_taken_and_is_not_there_is_lost_and_what_is_there_twice_is_duplicated() -> None:
    ledgers = [sent(("m-0", 250), ("m-1", 250)), sent(("n-0", 250))]
    row = ledger.row("f", ledgers, [arrival("m-0", 3.0), arrival("m-0", 9.0), arrival("n-0", 6.0)])
    assert (row.sent, row.delivered, row.duplicated, row.lost, row.open) == (3, 2, 1, 1, 0)
    assert sorted(row.latencies) == [2.0, 5.0]
    row.drained = 1.0
    assert not row.good and row.verdict == "BAD: 1 lost"


def test_a_message_whose_250_nobody_heard_counts_as_delivered_once_it_is_there() -> None:
    row = ledger.row("f", [sent(("m-0", 0), ("m-1", 421))], [arrival("m-0", 3.0)])
    assert (row.delivered, row.lost, row.open, row.deferred) == (1, 0, 1, 2)


def test_latencies_are_those_of_messages_that_began_in_a_span_and_what_never_arrived_took_forever() -> None:
    ledgers = [{"m-0": Message("m-0", 10, "x", begun=1.0), "m-1": Message("m-1", 10, "x", begun=5.0)}, sent(("n-0", 250))]
    arrivals = [arrival("m-0", 3.0), arrival("m-0", 2.5), arrival("n-0", 4.0)]
    assert ledger.latencies(ledgers, arrivals, 0.0, 2.0) == [1.5, 3.0]
    assert ledger.latencies(ledgers, arrivals, 4.0) == [float("inf")]


@pytest.mark.parametrize("change", [{"sha256": "y"}, {"size": 11}])
def test_an_altered_body_is_noticed_even_where_another_copy_is_whole(change: dict[str, Any]) -> None:
    row = ledger.row("f", [sent(("m-0", 250))], [arrival("m-0", 3.0), arrival("m-0", 4.0, **change)])
    row.drained = 0.0
    assert row.altered == 1 and not row.good


def test_what_was_refused_is_not_lost_but_not_good_either() -> None:
    row = ledger.row("f", [sent(("m-0", 250), ("m-1", 554))], [arrival("m-0", 3.0)])
    row.drained = 0.0
    assert (row.refused, row.lost) == (1, 0) and row.verdict == "BAD: 1 refused"


def test_reports_and_messages_that_nobody_sent_are_findings() -> None:
    row = ledger.row(
        "f", [sent(("m-0", 250))], [arrival("m-0", 3.0), arrival("z-9", 3.0), {"report": "Returned mail", "at": 4.0}]
    )
    assert row.findings == ["z-9 arrived and was never sent", "1 of `Returned mail`"]


def test_a_drill_is_good_only_if_something_was_sent_and_all_of_it_drained() -> None:
    assert Row("f", sent=2, delivered=2, drained=3.0).good
    assert not Row("f", drained=3.0).good
    assert not Row("f", sent=2, delivered=2).good
    assert not Row("f", sent=2, delivered=2, drained=3.0, findings=["x"]).good
    assert not Row("f", sent=2, delivered=1, drained=3.0).good


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.95, 4.0), (1.0, 4.0)])
def test_quantiles(share: float, value: float) -> None:
    assert ledger.quantile([4.0, 1.0, 2.0, 3.0], share) == value
    assert ledger.quantile([], share) == 0.0


def test_tables_have_a_row_a_fault() -> None:
    rows = [Row("one", sent=2, delivered=2, latencies=[0.25, 1.0], drained=3.4), Row("two", sent=1, lost=1)]
    text = ledger.text_table(rows).splitlines()
    assert text[0].split() == list(ledger.HEADS)
    assert text[1].split() == ["one", "2", "0", "0", "2", "0", "0", "0.2", "1.0", "1.0", "3", "good"]
    assert "never" in text[2] and "BAD: 1 lost; not drained" in text[2]
    assert all(line.count("|") == len(ledger.HEADS) + 1 for line in ledger.page_table(rows).splitlines())


def test_a_bar_in_a_finding_is_none_of_the_pages_table() -> None:
    entry = Row("cut", sent=1, delivered=1, drained=1.0, findings=["sh: ls | wc"])
    line = ledger.page_table([entry]).splitlines()[-1]
    assert line.endswith("| BAD: sh: ls \\| wc |")


def test_a_letter_is_read_back_as_it_was_written_from_pop_and_from_a_mailbox_file() -> None:
    header, body = postman.letter("t1-in-7", 7, "a@b.example", "c@d.example")
    for text in (header + body, (header + body).replace(b"\r\n", b"\n")):
        entry = postman._read(text, "t1", "p")
        assert entry is not None
        assert (entry["name"], entry["sha256"]) == ("t1-in-7", postman.digest(body))
    assert postman._read(header + body.replace(b"dot", b"dog"), "t1", "p")["sha256"] != postman.digest(body)  # type: ignore[index]
    assert postman._read(header + body, "t0123456789abcdef", "p") is None


def test_no_two_letters_are_alike() -> None:
    assert len({postman.letter(f"w-{number}", 0, "a", "b")[1] for number in range(20)}) == 20


def test_a_report_about_a_letter_is_told_from_a_letter() -> None:
    text = b"From: MAILER-DAEMON\nSubject: Returned mail\n\nX-Drill: t1-in-7\n"
    entry = postman._read(text, "t1", "p")
    assert entry is not None and entry["report"] == "Returned mail"
