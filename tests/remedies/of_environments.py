"""Refusals of environments.toml, of URLs and variables, and of the env file that the service reads."""

from __future__ import annotations

import json
import re

from db.console.output import plain
from tests.fixtures import gates
from tests.remedies.scratch import SECRETS, Scratch, another_database, follows, quoted

TOKEN = ("token", "--env", "development", "--player", "hana")


@follows("Run from the project's folder.")
def no_environments_toml_in_this_folder(a: Scratch) -> None:
    elsewhere = a.folder / "elsewhere"
    elsewhere.mkdir()
    a.monkeypatch.chdir(elsewhere)
    a.refused(*TOKEN)
    a.monkeypatch.chdir(a.folder)
    a.did("cd to the project's folder")
    a.works()


@follows("Correct that line; at the end of the document, close what is open: a quote, [ or {.")
def a_line_of_environments_toml_that_is_no_toml(a: Scratch) -> None:
    whole = a.config.read_text()
    a.config.write_text(whole + "services = [\n")
    a.refused(*TOKEN)
    a.config.write_text(whole)
    a.did("the line corrected")
    a.works()


@follows("Give it one of these names, or take it out.")
def a_section_of_another_name(a: Scratch) -> None:
    whole = a.config.read_text()
    a.config.write_text(whole + "[stagin]\n")
    a.refused(*TOKEN)
    a.config.write_text(whole)
    a.did("[stagin] taken out")
    a.works()


@follows("Write [{}] into it; [staging] of the project's own file shows every key.")
def an_environment_without_a_section(a: Scratch) -> None:
    a.write("staging")
    a.refused(*TOKEN)
    a.write()
    a.did("[development] written")
    a.works()


@follows("Name another: --env test is for the tasks transfer and gate, which start a server of their own.")
def the_test_environment_for_a_task_that_starts_no_server(a: Scratch) -> None:
    a.refused("token", "--env", "test", "--player", "hana")
    a.works(*TOKEN)


@follows("Name one of them with --env.")
def a_task_without_an_environment(a: Scratch) -> None:
    a.refused("token", "--player", "hana")
    a.works(*TOKEN)


@follows("Write it: [staging] shows every key.")
def a_section_without_a_key_that_it_needs(a: Scratch) -> None:
    legacy = a.values["legacy"]
    a.write(legacy=None)
    a.refused(*TOKEN)
    a.write(legacy=legacy)
    a.did("legacy = … written")
    a.works()


@follows("Correct how it is spelt, or take it out.")
def a_key_that_nobody_reads(a: Scratch) -> None:
    a.write(colour="'red'")
    a.refused(*TOKEN)
    a.write(colour=None)
    a.did("colour taken out")
    a.works()


@follows("Correct that value, or the variable that it takes.")
def a_value_that_is_none_of_a_key(a: Scratch) -> None:
    a.write(policy="{ max_held = -1 }")
    a.refused(*TOKEN)
    a.write(policy="{ max_held = 0 }")
    a.did("policy.max_held = 0")
    a.works()


@follows("Export it, or write it into {}; see .env.example.")
def a_variable_that_is_not_set(a: Scratch) -> None:
    a.write(legacy=quoted("file:${LEGACY_OF_THE_TEST}"))
    a.refused(*TOKEN)
    (a.folder / ".env").write_text("LEGACY_OF_THE_TEST=game.db\n")
    a.did("LEGACY_OF_THE_TEST written into .env")
    a.works()


@follows("Write one ?schema= into both.")
def two_schemas_in_target_and_target_direct(a: Scratch) -> None:
    target = a.values["target"]
    a.write(target=target.replace("schema=game", "schema=other"))
    a.refused(*TOKEN)
    a.write(target=target)
    a.did("?schema=game in both")
    a.works()


@follows("Keep the store's URL in another variable.")
def a_target_that_is_the_services_own_variable(a: Scratch) -> None:
    target = a.values["target"]
    a.write(target=quoted("${DATABASE_URL}"))
    a.refused(*TOKEN)
    (a.folder / ".env").write_text(f"TARGET_URL={target.strip(chr(39))}\n")
    a.write(target=quoted("${TARGET_URL}"))
    a.did("TARGET_URL instead")
    a.works()


@follows(
    "Put it back, or write it as docs/service.md says. If it is another file, correct"
    " pointer.path where it is set (invoke status --env NAME: settings)."
)
def the_services_file_is_missing(a: Scratch) -> None:
    a.pointer.unlink()
    a.refused(*TOKEN)
    a.pointer.write_text(SECRETS)
    a.did("service.env put back")
    a.works()


@follows(
    "Put it back, or write it as docs/service.md says. If it is another file, correct pointer.path where it is set"
    " (invoke status --env NAME: settings)."
)
def the_services_file_is_a_folder(a: Scratch) -> None:
    a.write(pointer='{ path = "." }')
    a.refused(*TOKEN)
    a.write(pointer='{ path = "service.env" }')
    a.did("pointer.path corrected")
    a.works()


@follows("Save it as UTF-8: the service reads no other.")
def the_services_file_in_another_encoding(a: Scratch) -> None:
    text = f"# 서비스\n{SECRETS}"
    a.pointer.write_bytes(text.encode("euc-kr"))
    a.refused(*TOKEN)
    a.pointer.write_text(text)
    a.did("saved as UTF-8")
    a.works()


@follows("Give {} a value of 16 characters or more in this file, and restart the service.")
def the_services_file_without_a_secret(a: Scratch) -> None:
    a.pointer.write_text("DATABASE_URL=file:game.db\n")
    a.refused(*TOKEN)
    a.pointer.write_text("TOKEN_SECRET=0123456789abcdef\n")
    a.did("TOKEN_SECRET written")
    a.works()


@follows(
    "Write {} into a file, and the line REVOKED_TOKENS=FILE with its path from the root into this one; then restart the"
    " service."
)
def no_file_of_revoked_tokens_is_named(a: Scratch) -> None:
    a.refused(*TOKEN, "--revoke")
    (a.folder / "revoked.json").write_text("{}")
    a.pointer.write_text(f"{SECRETS}REVOKED_TOKENS={a.folder}/revoked.json\n")
    a.did("{} written, and REVOKED_TOKENS")
    a.works()


@follows("Write {} into it, and let the service's user read it.")
def the_file_of_revoked_tokens_is_missing(a: Scratch) -> None:
    a.pointer.write_text(f"{SECRETS}REVOKED_TOKENS={a.folder}/revoked.json\n")
    a.refused(*TOKEN, "--revoke")
    (a.folder / "revoked.json").write_text("{}")
    a.did("{} written")
    a.works()


@follows("Correct it; the service goes on with what it said before.")
def the_file_of_revoked_tokens_has_a_wrong_time(a: Scratch) -> None:
    a.pointer.write_text(f"{SECRETS}REVOKED_TOKENS={a.folder}/revoked.json\n")
    (a.folder / "revoked.json").write_text('{"hana": "yesterday"}')
    a.refused(*TOKEN, "--revoke")
    (a.folder / "revoked.json").write_text('{"hana": "2026-11-28T00:00:00+00:00"}')
    a.did("the time corrected")
    a.works()


@follows("Add the id of a player: --player ID. `invoke seed --legacy FILE` prints one.")
def a_token_for_nobody(a: Scratch) -> None:
    a.refused("token", "--env", "development")
    made = a.done("seed", "--legacy", "made.db", "--players", "3", "--clean")
    player = re.findall(r"a player to begin with: (\S+)", made)
    a.works("token", "--env", "development", "--player", player[0])


@follows(
    "The URL is another environment's: correct target_direct and target of [{}], where they"
    " are set (invoke status --env NAME: settings). Never the marker."
)
def a_database_of_another_environment(a: Scratch) -> None:
    ours = another_database(a)
    a.done("prepare", "--env", "development")
    a.sql("update ops.environment set name = 'staging'")
    a.refused("migrate", "--env", "development", "--sql")
    a.write(target_direct=quoted(ours.as_text()), target=quoted(a.own.service.with_(dbname=ours.dbname).as_text()))
    a.did("target and target_direct corrected")
    a.done("prepare", "--env", "development")
    a.works()


@follows("Name the file that a gate wrote, or have one written: invoke gate --env NAME --json FILE")
def a_page_of_what_no_gate_wrote(a: Scratch) -> None:
    (a.folder / "README.md").write_text("# hello\n")
    a.refused("report", "--from", "README.md", "--into", "page.html")
    (a.folder / "gate.json").write_text(json.dumps(plain(gates.report(gates.items(), gates.parts()))))
    a.works("report", "--from", "gate.json", "--into", "page.html")


@follows("Nothing was begun. Name a file in it, or another path.")
def a_folder_for_the_json(a: Scratch) -> None:
    a.refused("seed", "--legacy", "made.db", "--players", "5", "--json", str(a.folder))
    a.works("seed", "--legacy", "made.db", "--players", "5", "--json", str(a.folder / "out.json"))
