"""The result of a gate for people and for machines: a page, JUnit XML, GitHub's step summary; a move's page."""

from __future__ import annotations

from harness.report import move, move_page
from harness.report.files import checked, read, write
from harness.report.junit import junit
from harness.report.page import page
from harness.report.summary import summary

__all__ = ["checked", "junit", "move", "move_page", "page", "read", "summary", "write"]
