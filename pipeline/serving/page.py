"""The page itself: the report's parts, a form, pages of lines, and a script that asks the server."""

import re
from importlib import resources

from pipeline.report.cards import Json
from pipeline.report.page import Additions, assemble_page

_SCRIPTS = ("asking.js", "served.js")
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def served_page(title: str, head: Json) -> tuple[bytes, str]:
    """As UTF-8, and the policy that it may do nothing but ask this server; in a header it also forbids frames.

    Args:
        title: of the document.
        head: what is drawn at once.
    """
    additions = Additions(
        script="".join(map(_read, _SCRIPTS)),
        style=_read("serve.css"),
        above=_read("ask.html"),
        below=_read("pager.html"),
        policy="connect-src 'self'; ",
    )
    page = "".join(assemble_page(title=title, head=head, details=(), media_sources=["'self'"], additions=additions))
    found = _POLICY.search(page)
    assert found is not None
    return page.encode(), f"{found[1]}; frame-ancestors 'none'"


def _read(name: str) -> str:
    return resources.files("pipeline.serving").joinpath(name).read_text(encoding="utf-8")
