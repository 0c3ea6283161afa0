"""Received lines, read as the suites of the running site read them."""

from tests.site import mailflow

# By dovecot's LMTP server and by sendmail. An id of dovecot's is base64: it may begin with a sign that is no letter.
TRACE = (
    "Return-Path: <bob@widgets.example>\r\n"
    "Received: from widgets.example ([172.16.1.10])\r\n\tby mail.widgets.example with LMTP\r\n\tid {id}\r\n"
    "\t(envelope-from <bob@widgets.example>)\r\n\tfor <alice@widgets.example>; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    "Received: from desk ([172.16.1.20])\r\n\tby widgets.example (8.17.1/8.17.1) with ESMTP id 6AOA00xY001234;\r\n"
    "\tTue, 24 Nov 2026 10:00:00 +0000\r\n"
    "Subject: by hand, id 1\r\n\r\nReceived: in the body\r\n"
)


def test_each_hop_is_read_with_its_id_whatever_the_id_begins_with() -> None:
    for entry in ("yOKsvBw/yZ2f6CAAAPgpJoA", "+AbC/Z2f6CAAAPgpJoA", "/bCd+Z2f6CAAAPgpJoA"):
        assert mailflow.hops(TRACE.format(id=entry)) == [("mail.widgets.example", entry), ("widgets.example", "6AOA00xY001234")]
