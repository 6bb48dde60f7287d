"""The result of a gate for people and for machines: a page, JUnit XML, and GitHub's step summary."""

from __future__ import annotations

from harness.report.files import checked, read, write
from harness.report.junit import junit
from harness.report.page import page
from harness.report.summary import summary

__all__ = ["checked", "junit", "page", "read", "summary", "write"]
