"""A snapshot of staging is signed: every later change is noticed, and an unsigned one is admitted only on purpose."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from db import snapshots
from db.environments import Environment
from db.errors import Refusal
from db.samples import seed
from db.signing import SIGNING_KEY
from db.snapshots import Label, Side, Snapshot, manifest
from db.snapshots.manifest import MANIFEST, VERIFIED, Manifest
from harness.cli.commands import snapshots as moves
from harness.gate import certificate
from tests.db.snapshots.forging import forged

KEY = "a key that nobody will guess"


@pytest.fixture
def staging(env: Environment, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv(SIGNING_KEY, KEY)
    seed.seed_legacy(env.legacy.path, 3, anomalies=False)
    return dataclasses.replace(env, name="staging")


@pytest.fixture
def signed(staging: Environment) -> Snapshot:
    return snapshots.take_verified(staging, Side.LEGACY)


def test_a_signed_snapshot_is_restored(staging: Environment, signed: Snapshot, tmp_path: Path) -> None:
    assert signed.manifest.signature
    snapshots.restore(staging, signed, keep_fence=False, into=tmp_path / "back.db")
    assert sorted(path.name for path in tmp_path.glob("*back*")) == ["back.db"]
    with pytest.raises(Refusal, match="--unsigned with an unsigned snapshot; found a signed one"):
        moves.run(staging, "verify", str(signed.folder), "", unsigned=True)
    assert moves.run(staging, "verify", str(signed.folder), "")["users"] == 3


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Manifest) if one.name != "signature"])
def test_whatever_of_the_manifest_is_changed_is_noticed(
    staging: Environment, signed: Snapshot, tmp_path: Path, field: str
) -> None:
    value = getattr(signed.manifest, field)
    others: dict[str, Any] = {
        "side": Side.TARGET,
        "label": Label.FINAL,
        "file": "game.dump",
        "taken_at": "2026-01-01T00:00:00+00:00",
        "sha256": "0" * 64,
        "counts": {**signed.manifest.counts, "users": 4},
        "size": 1,
    }
    edited = dataclasses.replace(signed.manifest, **{field: others.get(field, f"{value}0")})
    if field in ("side", "file"):
        edited = dataclasses.replace(edited, side=Side.TARGET, file="game.dump")
        signed.path.rename(signed.folder / "game.dump")
    (signed.folder / MANIFEST).write_bytes(manifest._MANIFESTS.dump_json(edited))
    snapshot = snapshots.read(signed.folder)
    staging = dataclasses.replace(staging, name=snapshot.manifest.environment)

    with pytest.raises(Refusal, match="one that does not fit"):
        snapshots.restore(staging, snapshot, keep_fence=False, into=tmp_path / "back.db", unsigned=True)
    with pytest.raises(Refusal, match="one that does not fit"):
        snapshots.verify(staging, snapshot, unsigned=True)
    assert not (tmp_path / "back.db").exists()
    assert not snapshots.is_admitted(snapshot)


def test_one_without_a_signature_is_admitted_only_on_purpose(
    staging: Environment, signed: Snapshot, tmp_path: Path
) -> None:
    bare = forged(signed)
    with pytest.raises(Refusal, match="an unsigned one") as caught:
        snapshots.restore(staging, bare, keep_fence=False, into=tmp_path / "back.db")
    assert "--unsigned" in caught.value.do
    with pytest.raises(Refusal, match="an unsigned one"):
        snapshots.verify(staging, bare)

    snapshots.verify(staging, bare, unsigned=True)
    snapshots.restore(staging, bare, keep_fence=False, into=tmp_path / "back.db", unsigned=True)
    assert (tmp_path / "back.db").exists()


@pytest.mark.parametrize(
    ("key", "words"),
    [(None, f"no {SIGNING_KEY} to check"), ("another key, as long as it should", "one that does not fit")],
)
def test_another_key_or_none_admits_nothing(
    staging: Environment,
    signed: Snapshot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    words: str,
) -> None:
    monkeypatch.delenv(SIGNING_KEY)
    if key:
        monkeypatch.setenv(SIGNING_KEY, key)
    with pytest.raises(Refusal, match=words):
        snapshots.restore(staging, signed, keep_fence=False, into=tmp_path / "back.db", unsigned=True)
    monkeypatch.setenv(SIGNING_KEY, KEY)
    snapshots.restore(staging, signed, keep_fence=False, into=tmp_path / "back.db")


def test_who_can_write_to_the_folder_and_has_no_key_makes_none_count_as_verified(
    staging: Environment, signed: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert snapshots.is_verified(signed)
    other = snapshots.take(staging, Side.LEGACY)
    sha256 = other.manifest.sha256
    first = json.loads((signed.folder / VERIFIED).read_text())
    for forgery in (
        {"at": "now", "sha256": sha256},
        {"at": "now", "sha256": sha256, "signature": other.manifest.signature},
        {"at": "now", "sha256": sha256, "signature": "0" * 64},
        {**first, "sha256": sha256},
    ):
        (other.folder / VERIFIED).write_text(json.dumps(forgery))
        assert not snapshots.is_verified(other), forgery
    assert [snapshots.is_verified(one) for one in snapshots.find(staging.snapshots.folder, "staging")] == [True, False]

    snapshots.verify(staging, other)
    assert snapshots.is_verified(other)
    for key in ("", "another key, as long as it should"):
        monkeypatch.setenv(SIGNING_KEY, key)
        assert not snapshots.is_verified(other)


def test_without_a_key_none_is_taken(staging: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SIGNING_KEY)
    with pytest.raises(Refusal, match=f"{SIGNING_KEY}, with which a snapshot of staging is signed") as caught:
        snapshots.take(staging, Side.LEGACY)
    assert not staging.snapshots.folder.exists()
    assert SIGNING_KEY in caught.value.do
    monkeypatch.setenv(SIGNING_KEY, KEY)
    snapshots.take_verified(staging, Side.LEGACY)


def test_forged_ones_push_none_of_ours_out(staging: Environment, signed: Snapshot) -> None:
    for number in range(staging.snapshots.keep + 1):
        copy = shutil.copytree(signed.folder, signed.folder.with_name(f"staging-legacy-manual-9999010{number}"))
        forged(snapshots.read(copy), taken_at=f"9999-01-0{number + 1}T00:00:00+00:00")

    for _ in range(staging.snapshots.keep - 1):
        snapshots.take_verified(staging, Side.LEGACY)

    assert signed.folder.is_dir()


def test_a_certificate_s_signature_is_none_of_a_manifest(signed: Snapshot) -> None:
    fields = dataclasses.asdict(signed.manifest)
    del fields["signature"]
    other = certificate.signature(fields, {}, KEY)
    assert not dataclasses.replace(signed.manifest, signature=other).fits(KEY)
