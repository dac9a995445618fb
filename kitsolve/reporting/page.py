"""The page: sections below each other, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from kitsolve.reporting.html import Html, element, join


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor and title, what it shows and what to do about it, a sentence each, and itself."""

    anchor: str
    title: str
    shows: str
    advice: str
    body: Html


def fill_page(sections: Sequence[Section], *, title: str, subtitle: str) -> str:
    """The whole file. It fetches nothing: its policy forbids it, whatever a class name holds."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    links = [element("a", section.title, href=f"#{section.anchor}") for section in sections]
    return template.substitute(
        title=join([title]),
        subtitle=join([subtitle]),
        links=join(links),
        sections=join(_show_section(section) for section in sections),
    )


def _show_section(section: Section) -> Html:
    said = element("p", section.shows, " ", element("em", section.advice), class_="said")
    return element("section", element("h2", section.title), said, section.body, id=section.anchor)
