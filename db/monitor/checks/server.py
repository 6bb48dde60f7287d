"""Checks of the server: restarts, its certificate, archive, replication slots, the disk of a local one, its log."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
from datetime import UTC, datetime

from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look
from game.urls import PostgresUrl

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""PostgreSQL documentation, 55.7: the message that asks a server for TLS."""

HANDSHAKE_SECONDS = 5.0
VERSION_TAG, UTC_TIME = 0xA0, 0x17

ARCHIVER = """
select current_setting('archive_mode'),
    (select setting from pg_settings where name = 'archive_command') = ''
        and coalesce((select setting from pg_settings where name = 'archive_library'), '') = '',
    extract(epoch from clock_timestamp() - last_failed_time)::float8,
    coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false), last_failed_wal
from pg_stat_archiver
"""
SLOTS = """
select (case when active then 0 else 1 end)::float8, format('%s: %s', slot_name, wal_status)
from pg_replication_slots order by 1 desc, 2
"""
RETAINED = """
select (pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) / 1e6)::float8, slot_name::text
from pg_replication_slots where restart_lsn is not null order by 1 desc
"""


def restarts(look: Look) -> Measured:
    """Measure the restarts of the server since the look before."""
    if look.earlier is None:
        raise NotJudged("there was no look before this one within the window")
    name = "started"
    if name not in look.earlier.counters or name not in look.sample.counters:
        raise NotJudged("the look before did not note it")
    seconds = (look.sample.at - look.earlier.at).total_seconds()
    began = datetime.fromtimestamp(look.sample.counters[name], UTC)
    again = look.sample.counters[name] != look.earlier.counters[name]
    return Measured(float(again), f"started {began:%Y-%m-%d %H:%M:%S} UTC", seconds)


def tls(look: Look) -> Measured:
    """Measure the days until the server's certificate expires."""
    url = look.env.target_direct
    if url.host.startswith("/"):
        raise NotApplicable("the server is reached by a socket of this machine")
    try:
        certificate = server_certificate(url)
        ends = None if certificate is None else not_after(certificate)
    except (OSError, ValueError, IndexError) as error:
        raise NotJudged(f"the server's certificate can't be read: {error}") from error
    if ends is None:
        raise NotApplicable("the server offers no TLS")
    return Measured((ends - look.at).total_seconds() / 86_400, f"ends {ends:%Y-%m-%d}")


def server_certificate(url: PostgresUrl) -> bytes | None:
    """Return the server's certificate in DER, whoever signed it; None if it offers no TLS. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((url.host, url.port), timeout=HANDSHAKE_SECONDS) as plain:
        plain.sendall(SSL_REQUEST)
        if plain.recv(1) != b"S":
            return None
        with context.wrap_socket(plain, server_hostname=url.host) as secured:
            return secured.getpeercert(binary_form=True)


def not_after(der: bytes) -> datetime:
    """Return when a certificate ends. Raises ValueError if these bytes are none.

    The module ssl parses a certificate only after it has verified it, and a server's own need not be verifiable.
    """
    fields = _elements(_elements(_elements(der)[0][1])[0][1])  # RFC 5280, 4.1: Certificate, then TBSCertificate
    # The version comes first, marked as [0], and a certificate of version 1 has none.
    validity = fields[4 if fields[0][0] == VERSION_TAG else 3]
    tag, time = _elements(validity[1])[1]
    text = time.decode("ascii")
    if tag == UTC_TIME:  # RFC 5280, 4.1.2.5.1: two digits of the year, of which 50 is 1950
        text = f"{19 if text >= '50' else 20}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tag and the content of each element of a sequence (X.690, 8.1). Raises ValueError at its end."""
    elements: list[tuple[int, bytes]] = []
    at = 0
    try:
        while at < len(der):
            tag, length = der[at], der[at + 1]
            at += 2
            if length & 0x80:  # then the length of the length
                size = length & 0x7F
                length = int.from_bytes(der[at : at + size])
                at += size
            elements.append((tag, der[at : at + length]))
            at += length
    except IndexError:
        raise ValueError("it is no certificate") from None
    if at > len(der):
        raise ValueError("it is cut off")
    return elements


def archive(look: Look) -> Measured:
    """Measure whether the newest attempt to archive a segment of WAL failed."""
    mode, unset, ago, failed, segment = look.row(ARCHIVER)
    if mode == "off":
        raise NotApplicable("archive_mode is off: the provider's own recovery is checked by its own checks")
    if unset:
        return Measured(1.0, f"archive_mode = {mode} and archive_command is empty: every segment stays")
    return Measured(float(failed), f"{segment} failed {ago:,.0f} s ago" if failed else "the newest attempt worked")


def disk(look: Look) -> Measured:
    """Measure the free part of the disk of the data folder, in percent, if the server runs on this machine."""
    folder = look.value(
        "select case when pg_has_role('pg_read_all_settings', 'usage') then current_setting('data_directory') end"
    )
    local = look.env.target_direct.host in ("localhost", "127.0.0.1", "::1") or look.env.target_direct.host.startswith(
        "/"
    )
    if not local or not folder or not os.path.isdir(folder):  # noqa: PTH112  # Path.is_dir raises if it may not look
        raise NotApplicable("the server's disk can't be seen from this machine; the provider's own checks see it")
    usage = shutil.disk_usage(folder)
    return Measured(100.0 * usage.free / usage.total, f"{usage.free / 1e9:,.1f} of {usage.total / 1e9:,.1f} GB free")


CHECKS = (
    Check(
        name="restarts",
        limit=Limit(0, "restarts", "an unplanned restart ends every command in flight"),
        measure=restarts,
        defect="a server that is restarted between two looks",
        not_judged="the first look",
        do="Read what the server's log says just before the restart.",
    ),
    Check(
        name="certificate of the server",
        limit=Limit(21, "days", "three weeks are enough to renew it in working hours", least=True),
        measure=tls,
        defect="a server whose certificate ends in a week",
        not_judged="the handshake fails",
        do="Renew the server's certificate and reload: SELECT pg_reload_conf();",
    ),
    Check(
        name="archive of WAL",
        limit=Limit(
            0, "failures", "PostgreSQL documentation, 26.3.1: segments that can't be archived stay, and fill the disk"
        ),
        measure=archive,
        defect="archive_command = 'false'",
        do="Mend the error of archive_command in the server's log: until then no newer point in time can be restored.",
    ),
    Check(
        name="replication slots",
        limit=Limit(0, "inactive", "PostgreSQL documentation, 27.2.6: a slot that nobody reads keeps WAL without end"),
        measure=lambda look: look.worst(SLOTS),
        defect="a replication slot that nobody reads",
        do="SELECT pg_drop_replication_slot('NAME'); if nobody will read it again.",
    ),
    Check(
        name="WAL kept for slots",
        limit=Limit(1_000, "MB", "an hour of a busy game; more fills a disk of 20 GB in a night"),
        measure=lambda look: look.worst(RETAINED),
        defect="a slot behind a gigabyte of WAL",
        do="SELECT pg_drop_replication_slot('NAME'); if nobody will read it again, else see why its reader is behind.",
    ),
    Check(
        name="disk of the server",
        limit=Limit(15, "%", "VACUUM FULL and a restore need the size of the largest table twice", least=True),
        measure=disk,
        defect="a limit above what is free",
        do="Make room: SELECT pg_size_pretty(pg_database_size(datname)), datname FROM pg_database;",
    ),
)
