"""The import map of the page's native ES modules.

Every file below ``static/js`` is a module named by its path without the suffix (``models/stream``) and is imported by
that name only, so that the hashed address of the static storage is known in one place. ``{% importmap "pages/chat" %}``
renders the map, a ``modulepreload`` for everything the entry imports statically, and the entry itself.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

# `import x from "a"`, `import "a"`, `export … from "a"` at the start of a line; not the lazy `import("a")`.
STATIC_IMPORT = re.compile(r'^(?:import|(?:import|export)\s[\w\s{},*$]+\sfrom)\s+"([\w/.-]+)"', re.MULTILINE)


@register.simple_tag(takes_context=True)
def importmap(context: dict[str, Any], entry: str) -> SafeString:
    """The map, the preloads and the entry module of a page, under the request's CSP nonce."""
    if settings.DEBUG:
        modules.cache_clear()
        eager.cache_clear()
    nonce = context["request"].csp_nonce
    imports = {name: static(path) for name, path in modules().items()}
    return format_html(
        '<script type="importmap" nonce="{}">{}</script>\n{}\n<script type="module" src="{}"></script>',
        nonce,
        mark_safe(_script_json({"imports": imports})),  # noqa: S308 -- names of our own files, "<" escaped
        format_html_join("\n", '<link rel="modulepreload" href="{}">', [(imports[name],) for name in eager(entry)]),
        imports[entry],
    )


@cache
def modules() -> dict[str, str]:
    """Specifier to static path of every module: ``{"models/stream": "js/models/stream.js"}``."""
    root = _root()
    names = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.js"))
    return {name: f"js/{name}.js" for name in names}


@cache
def eager(entry: str) -> tuple[str, ...]:
    """What ``entry`` imports statically, itself first, each once. Raises ``KeyError`` for an unknown module."""
    found: dict[str, None] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _imports_of(name)
    return tuple(found)


def _imports_of(name: str) -> list[str]:
    modules()[name]
    # The vendored bundles import nothing.
    return [] if name.startswith("vendor/") else STATIC_IMPORT.findall((_root() / f"{name}.js").read_text())


def _root() -> Path:
    found = finders.find("js")
    if found is None:
        raise FileNotFoundError("static/js is in none of STATICFILES_DIRS")
    return Path(found)


def _script_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
