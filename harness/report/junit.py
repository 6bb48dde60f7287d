"""A gate's finding as JUnit XML: a suite a kind, and one of the parts beside the scenarios."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as Xml

from game.printable import escaped
from harness.gate.report import Ended, GatePart, GateReport, Item, ItemKind

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: GateReport) -> bytes:
    """Return JUnit XML in UTF-8, with its declaration. A doubt is an error: nothing failed, and nothing is proven."""
    root = Xml.Element("testsuites", name=f"gate for {report.environment}", time=f"{report.seconds:.3f}")
    for kind in ItemKind:
        _suite(root, str(kind), [_item(item) for item in report.items if item.kind is kind])
    _suite(root, "parts", [_part(part) for part in report.parts])
    _suite(root, "doubts", [_doubt(doubt) for doubt in report.doubts])
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(root: Xml.Element, name: str, cases: Iterable[Xml.Element]) -> None:
    listed = list(cases)
    suite = Xml.SubElement(
        root,
        "testsuite",
        name=name,
        tests=str(len(listed)),
        failures=str(sum(case.find("failure") is not None for case in listed)),
        errors=str(sum(case.find("error") is not None for case in listed)),
    )
    suite.extend(listed)


def _item(item: Item) -> Xml.Element:
    case = _case(item.file, item.way, item.seconds)
    if item.sweep:
        properties = Xml.SubElement(case, "properties")
        for name, value in item.sweep.items():
            if isinstance(value, str | int | float):
                Xml.SubElement(properties, "property", name=_text(name), value=_text(str(value)))
    if not item.passed:
        _wrong(case, "failure", item.found)
    return case


def _part(part: GatePart) -> Xml.Element:
    case = _case("gate", part.name, part.seconds)
    if part.verdict is not Ended.PASS:
        _wrong(case, "failure" if part.verdict is Ended.FAIL else "error", "\n".join(part.problems))
    return case


def _doubt(doubt: str) -> Xml.Element:
    case = _case("gate", doubt, 0.0)
    _wrong(case, "error", doubt)
    return case


def _case(where: str, name: str, seconds: float) -> Xml.Element:
    return Xml.Element("testcase", classname=_text(where), name=_text(name), time=f"{seconds:.3f}")


def _wrong(case: Xml.Element, tag: str, reason: str) -> None:
    first = reason.strip().partition("\n")[0]
    Xml.SubElement(case, tag, message=_text(first)).text = _text(reason)


def _text(text: str) -> str:
    """Replace characters that XML can't hold."""
    return escaped(_NOT_XML.sub("�", text))
