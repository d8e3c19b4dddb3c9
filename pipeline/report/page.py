"""One HTML file that needs nothing else: styles, script and data stand in it, and its policy forbids every connection.

Data is JSON in script elements that are not run; the page writes it as text, never as markup.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources

from pipeline.report.cards import Json

_SCRIPTS = ("elements.js", "charts.js", "player.js", "details.js", "list.js", "page.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class Additions:
    """What makes a page of these parts something else than a report.

    Attributes:
        script: instead of the one that ties list and details of a report together.
        style: after the report's.
        above: markup before the summary; ``below``: behind the list.
        policy: what the page may do besides, such as ``connect-src 'self'; ``.
    """

    script: str
    style: str = ""
    above: str = ""
    below: str = ""
    policy: str = ""


def assemble_page(
    *,
    title: str,
    head: Json,
    details: Iterable[Json],
    media_sources: Iterable[str] = (),
    additions: Additions | None = None,
) -> Iterator[str]:
    """The page in pieces, in order.

    Args:
        title: of the document.
        head: what is drawn at once: ``totals``, ``runs`` and ``entries``, the lines of the list.
        details: one per entry, parsed when it is opened.
        media_sources: where videos may be played from, as the policy names them: ``file:``, ``https://host``.
        additions: None makes a report.
    """
    added = additions or Additions(script=_read("start.js"))
    style, script = _read("page.css") + added.style, "".join([*map(_read, _SCRIPTS), added.script])
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        + (f"media-src {' '.join(sorted(set(media_sources)))}; " if media_sources else "")
        + f"{added.policy}base-uri 'none'; form-action 'none'"
    )
    before, _, after = _read("page.html").partition("<!-- data and script -->")
    parts = {"policy": policy, "title": html.escape(title), "style": style, "above": added.above, "below": added.below}
    yield re.sub(r"\{(policy|title|style|above|below)\}", lambda found: parts[found[1]], before)
    yield _data("head", head)
    yield f"<script>{script}</script>\n"
    for number, one in enumerate(details):
        yield _data(f"detail-{number}", one)
    yield after


def _data(name: str, content: Json) -> str:
    """``<`` is written as its code: nothing in the data can end the element or begin a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return resources.files("pipeline.report").joinpath(name).read_text(encoding="utf-8")
