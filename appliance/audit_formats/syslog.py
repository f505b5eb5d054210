"""A record as one RFC 5424 message whose text is its OCSF event.

The facility is *log audit*. The message is ASCII and on one line, so it may be put
into a file, sent as a datagram, or followed by a line feed on a stream.
Source: RFC 5424, section 6; RFC 6587, section 3.4.2.
"""

from typing import Final

from appliance.audit_formats.ocsf import ocsf_event, ocsf_line
from appliance.audit_formats.record import AuditRecord

LOG_AUDIT: Final = 13
"""The facility. Source: RFC 5424, table 1."""

LEVELS: Final = {1: 6, 2: 5, 3: 4, 4: 3}
"""Syslog's severity for each of OCSF's."""

APP_NAME: Final = "sallyport"

MAX_MSGID: Final = 32
MAX_HOSTNAME: Final = 255
MAX_SEQUENCE_ID: Final = 2_147_483_647
"""Source: RFC 5424, sections 6 and 7.3.1."""


def syslog_line(
    record: AuditRecord, *, tool: str, number: int, brief: bool = False
) -> bytes:
    """Return the message, without a line end.

    Args:
        record: The record.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
        number: Which message of its sender this is, from 1: a receiver that misses
            one number has missed a message.
        brief: Whether the event leaves out what it can; see ``ocsf_event``.
    """
    severity = ocsf_event(record, tool=tool)["severity_id"]
    priority = LOG_AUDIT * 8 + LEVELS[severity]
    host = record.text("log")[:MAX_HOSTNAME] or "-"
    header = (
        f"<{priority}>1 {record.text('ts')} {host} {APP_NAME} - "
        f"{record.text('event')[:MAX_MSGID]} "
    )
    return (header + _elements(tool, number) + " ").encode("ascii") + ocsf_line(
        record, tool=tool, brief=brief
    )


def _elements(tool: str, number: int) -> str:
    program, _, version = tool.partition("/")
    place = (number - 1) % MAX_SEQUENCE_ID + 1
    return (
        f'[origin software="{program}" swVersion="{version}"]'
        f'[meta sequenceId="{place}"]'
    )
