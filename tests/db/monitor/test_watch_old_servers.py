"""Checks whose defect needs a server that was made for it: an old cluster, a damaged page, a certificate that ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.db.monitor.plants_of_servers import OF_A_SERVER_OF_ITS_OWN, certificate
from tests.db.monitor.proving import prove
from tests.db.monitor.watched import Watched, own_watched
from tests.fixtures.own_server import OwnServer

SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "autovacuum_freeze_max_age": "100000",
    "autovacuum_multixact_freeze_max_age": "10000",
    "autovacuum_naptime": "1h",
    "fsync": "off",
}


def prepared(server: OwnServer) -> None:
    """Give the stopped server checksums, and a certificate if this machine can make one."""
    server.program("pg_checksums", "--enable")
    if shutil.which("openssl"):
        certificate(server)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with own_watched(tmp_path_factory.mktemp("watched"), SETTINGS, made=prepared) as watched:
        if shutil.which("openssl") and watched.value("show ssl_library"):
            watched.reload("alter system set ssl = on", shown="select current_setting('ssl')::bool")
        yield watched


@pytest.mark.parametrize("name", OF_A_SERVER_OF_ITS_OWN)
def test_a_planted_defect_of_an_old_server_is_named_and_its_absence_is_silent(own: Watched, name: str) -> None:
    if name == "certificate of the server" and own.value("show ssl") == "off":
        pytest.skip("no openssl here, or a server without it; that the end of a certificate is read is tested beside")
    prove(own, name, OF_A_SERVER_OF_ITS_OWN[name])
