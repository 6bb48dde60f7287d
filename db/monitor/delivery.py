"""Delivers messages of alarms: to a webhook in Slack's form, by e-mail; and the heartbeat of the watch itself."""

from __future__ import annotations

import smtplib
import sqlite3
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from db import web
from db.environments import Environment, WatchPlan
from db.monitor import alarms
from db.monitor.alarms import AlarmMessage
from db.monitor.judging import shown

SECONDS = 10.0
WEBHOOK, MAIL = "webhook", "mail"


def places(plan: WatchPlan) -> tuple[str, ...]:
    """Return where messages go, as the environment names it."""
    return tuple(name for name, value in ((WEBHOOK, plan.webhook), (MAIL, plan.smtp)) if value)


def deliver(env: Environment, kept: sqlite3.Connection) -> Iterator[str]:
    """Deliver every message that waits, the oldest first, and yield a line for each that could not be.

    What could not be delivered waits for the next look. A place that the environment no longer names is forgotten.
    """
    silent: set[str] = set()
    for number, place, message in alarms.undelivered(kept):
        if place in silent:
            continue
        try:
            if place in places(env.watch):
                _send(env.watch, place, message)
        except (httpx.HTTPError, httpx.InvalidURL, smtplib.SMTPException, OSError) as error:
            silent.add(place)
            yield f"the {place} did not take a message, which waits: {_why(error)}"
            continue
        alarms.delivered(kept, number)


def beat(env: Environment) -> str:
    """Tell the heartbeat's receiver that the watch lives. Return why it could not be told; "" if it could."""
    if not env.watch.heartbeat:
        return ""
    try:
        _ask("GET", env.watch.heartbeat)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the heartbeat was not taken: {_why(error)}"
    return ""


def _send(plan: WatchPlan, place: str, message: AlarmMessage) -> None:
    if place == WEBHOOK:
        _ask("POST", plan.webhook, json={"text": _as_slack_shows_it(message.line)})
        return
    mail = EmailMessage()
    mail["Subject"] = f"[{message.environment}] {message.kind}: {message.check}"
    mail["From"], mail["To"] = plan.mail_from, ", ".join(plan.mail_to)
    mail.set_content(message.line)
    url = urlsplit(plan.smtp)
    secured = url.scheme == "smtps"
    connect = smtplib.SMTP_SSL if secured else smtplib.SMTP
    with connect(url.hostname or "localhost", url.port or (465 if secured else 25), timeout=SECONDS) as server:
        server.ehlo()
        if not secured and server.has_extn("starttls"):
            server.starttls(context=web.authorities())
            server.ehlo()
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(mail)


def _ask(method: str, url: str, **options: Any) -> None:
    """Ask a receiver. Raises httpx.HTTPError unless it takes the request. Its body is not read: it may have no end."""
    options |= {"timeout": SECONDS, "verify": web.authorities()}
    with httpx.stream(method, url, trust_env=False, **options) as answer:
        answer.raise_for_status()


def _as_slack_shows_it(text: str) -> str:
    """Escape Slack's three characters: in an id of a player, <!channel> would call everybody, <URL|text> be a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _why(error: Exception) -> str:
    # The text of httpx's errors may bear the URL, which is the secret of a webhook.
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {SECONDS:g} s"
    return type(error).__name__ if isinstance(error, httpx.InvalidURL) else shown(" ".join(str(error).split()))
