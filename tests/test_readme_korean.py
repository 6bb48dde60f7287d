"""README.ko.md says what README.md says: the same blocks in the same order, the same commands, the same links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text("utf-8")
KOREAN = (ROOT / "README.ko.md").read_text("utf-8")
HANGUL = re.compile("[가-힣]")
TERMS = {
    "cutover": "전환",
    "fence": "쓰기 차단",
    "gate": "관문",
    "rollback": "롤백",
    "runbook": "운영 절차서",
}


class Block(NamedTuple):
    """One block of a page, without its words: the language changes nothing here."""

    kind: str
    depth: int
    code: tuple[str, ...]
    links: tuple[str, ...]


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def words(token: Token) -> str:
    """Return the text of a block that a reader sees, without the code in it."""
    return "".join(child.content if child.type == "text" else " " for child in token.children or ())


def anchors(text: str) -> list[str]:
    """Return the anchor that GitHub gives to each heading, in their order."""
    titles = [after.content for token, after in pairwise(tokens(text)) if token.type == "heading_open"]
    return ["#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def blocks(text: str) -> Iterator[Block]:
    """Yield each block. Code and links of a sentence are sorted, since Korean has another order; a cell keeps its."""
    own = anchors(text)
    in_cell = False
    for token in tokens(text):
        in_cell = token.type in {"td_open", "th_open"} or (in_cell and token.type == "inline")
        children = token.children or []
        code = [child.content for child in children if child.type == "code_inline"]
        links = [str(child.attrs["href"]) for child in children if child.type == "link_open"]
        links = [f"heading {own.index(unquote(link))}" if link.startswith("#") else link for link in links]
        links = ["the other README" if link in {"README.md", "README.ko.md"} else link for link in links]
        if not in_cell:
            code, links = sorted(code), sorted(links)
        if token.type in {"fence", "code_block"}:
            code = [token.info, token.content]
        yield Block(f"{token.type} {token.tag}", token.level, tuple(code), tuple(links))


def test_the_korean_page_has_the_blocks_commands_and_links_of_the_english_one() -> None:
    """Compare the two pages block by block. If it fails, change README.ko.md as README.md was changed."""
    assert list(blocks(KOREAN)) == list(blocks(ENGLISH))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("| `invoke nightly` |", "| `invoke nightly`, `invoke later` |"),
        ("`invoke up`, `invoke down`", "`invoke down`, `invoke up`"),
        ("| run the service |", "| run a new task | `invoke later` |\n| run the service |"),
        ("\n.venv/bin/invoke test\n", "\n.venv/bin/invoke test\n.venv/bin/invoke later\n"),
        ("Every package is installed", "Run `invoke later`. Every package is installed"),
        ("DEVELOPMENT_PORT=5433", "DEVELOPMENT_PORT=5434"),
        ("\n### Two checkouts", "\n## Two checkouts"),
        ("\n## The layers\n", "\n## Later\n\n## The layers\n"),
        ("(docs/cutover.md)", "(docs/later.md)"),
        ("*Two checkouts on one machine*", "[Two checkouts](#two-checkouts-on-one-machine)"),
        ("\n- **the lock is held**", "\n- **a new message**: do this.\n- **the lock is held**"),
    ],
)
def test_a_change_of_the_english_page_alone_is_noticed(before: str, after: str) -> None:
    assert before in ENGLISH
    assert list(blocks(ENGLISH.replace(before, after, 1))) != list(blocks(KOREAN))


def test_a_link_to_a_heading_is_the_same_link_in_both_languages() -> None:
    english, korean = "# A\n\n## The house\n\n[see](#the-house)\n", "# A\n\n## 저장소 구조\n\n[보기](#저장소-구조)\n"
    assert list(blocks(english)) == list(blocks(korean))
    assert list(blocks(english)) != list(blocks(korean.replace("(#저장소-구조)", "(#a)")))


def test_each_page_links_to_the_other_at_its_top() -> None:
    assert "(README.ko.md)" in ENGLISH.split("\n\n")[1]
    assert "(README.md)" in KOREAN.split("\n\n")[1]


def test_every_sentence_and_cell_is_in_korean() -> None:
    inline = [token for token in tokens(KOREAN) if token.type == "inline"]
    left = [words(token) for token in inline if re.search("[a-z]", words(token)) and not HANGUL.search(words(token))]
    assert [" ".join(text.split()) for text in left] == ["sudamr", "English: README.md"]


def test_a_term_bears_its_english_word_where_it_first_stands() -> None:
    text = "\n".join(" ".join(words(token).split()) for token in tokens(KOREAN) if token.type == "inline")
    first = {word: text[text.index(korean) :] for word, korean in TERMS.items()}
    assert [word for word, rest in first.items() if not rest.startswith(f"{TERMS[word]}({word})")] == []


def test_a_message_that_the_tools_print_stands_there_as_printed() -> None:
    section = ENGLISH.partition("## When something refuses\n")[2].partition("\n## ")[0]
    messages = re.findall(r"^- \*\*([^*`]+)\*\*", section, re.MULTILINE)
    assert len(messages) > 10
    assert [message for message in messages if f"({message})" not in " ".join(KOREAN.split())] == []
