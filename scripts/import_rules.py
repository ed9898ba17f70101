"""What the import linter cannot see: ``python -m scripts.import_rules`` complains of hidden imports and of circles.

Hidden is a model found by its name in a string, through another model's ``_meta`` or through a relation that a package
above has given it, and one of our nouns called ``Any``. Foreign keys and migrations may name models by strings.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("chatapp", "accounts", "feedback", "inference")
WITH_MODELS = PACKAGES[:3]
ENGINE = "inference.engine"  # has circles of its own
LEVELS = ("chatapp.common", "accounts", "chatapp.queue", "chatapp.chat", "feedback", "chatapp")  # the lowest first
RELATIONS = {"ForeignKey", "OneToOneField", "ManyToManyField"}
LOOK_UPS = {"get_model", "get_models", "related_model", "import_module", "import_string", "__import__"}
LABELS = ("accounts", "chat", "feedback")
NOUNS = {
    *("user", "tenant", "membership", "plan", "key", "conversation", "message", "question", "answer", "generation"),
    *("rating", "job", "claim", "outcome", "transport"),
}
COMMON_WORDS = {"messages"}  # relations that have the name of a field of something else, too


def main() -> int:
    trees = {path: ast.parse(path.read_text()) for path in _sources(WITH_MODELS)}
    complaints = [*hidden_imports(trees), *circles()]
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


def hidden_imports(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """``file:line: what is wrong`` for everything that reaches a class of ours without importing it."""
    above = _related_names(trees)
    for path, tree in trees.items():
        name = path.relative_to(ROOT).as_posix()
        forbidden = {field for field, level in above.items() if level > _level(name)} - COMMON_WORDS
        allowed = {id(node) for call in ast.walk(tree) if _is_relation(call) for node in ast.walk(call)}
        for node in ast.walk(tree):
            if id(node) not in allowed and (why := _complaint(node, name, forbidden)):
                yield f"{name}:{getattr(node, 'lineno', 0)}: {why}"


def _complaint(node: ast.AST, name: str, forbidden: set[str]) -> str:
    called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if called in LOOK_UPS:
        return f"{called} finds a class that the linter does not see; import it"
    if isinstance(node, ast.Attribute) and node.attr in forbidden:
        return f".{node.attr} is a relation of a package above"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _string_complaint(node.value, name, forbidden)
    if isinstance(node, ast.arg) and node.arg in NOUNS and _is_any(node.annotation):
        return f"{node.arg} is one of our nouns, and not Any"
    if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") in NOUNS and _is_any(node.annotation):
        return "one of our nouns is not Any"
    return ""


def _string_complaint(text: str, name: str, forbidden: set[str]) -> str:
    label, _, model = text.partition(".")
    if label in LABELS and model[:1].isupper() and model.isidentifier() and not name.startswith("chatapp/settings/"):
        return f"{text!r} finds a model by its name; import it"
    if set(text.split("__")) & forbidden and " " not in text:
        return f"{text!r} goes by a relation of a package above"
    return ""


def circles() -> Iterator[str]:
    """Modules that import each other, imports inside functions included; packages count as their ``__init__``."""
    graph = grimp.build_graph(*PACKAGES)
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    for circle in _strong_components(below):
        if len(circle) > 1 and not any(module.startswith(ENGINE) for module in circle):
            yield "a circle of imports: " + ", ".join(sorted(circle))


def _strong_components(below: dict[str, set[str]]) -> Iterator[list[str]]:
    """Kosaraju's two walks."""
    order: list[str] = []
    _walk_all(below, list(below), order)
    above: dict[str, set[str]] = defaultdict(set)
    for module, imported in below.items():
        for other in imported:
            above[other].add(module)
    yield from _walk_all(above, order[::-1], [])


def _walk_all(edges: dict[str, set[str]], starts: list[str], left: list[str]) -> list[list[str]]:
    """The modules reached from each start that no earlier one reached; ``left`` lists them as they are left."""
    seen: set[str] = set()
    groups = []
    for start in starts:
        group: list[str] = []
        stack = [(start, iter(edges.get(start, ())))] if start not in seen else []
        seen.add(start)
        while stack:
            module, rest = stack[-1]
            for other in rest:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(edges.get(other, ()))))
                    break
            else:
                group.append(module)
                stack.pop()
        left += group
        groups.append(group)
    return groups


def _sources(packages: tuple[str, ...]) -> list[Path]:
    found = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if "migrations" not in path.parts)


def _related_names(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """Every ``related_name`` with the level of the package that gives it."""
    names: dict[str, int] = {}
    for path, tree in trees.items():
        for call in filter(_is_relation, ast.walk(tree)):
            for keyword in getattr(call, "keywords", ()):
                if keyword.arg == "related_name" and keyword.value.value != "+":
                    level = _level(path.relative_to(ROOT).as_posix())
                    names[keyword.value.value] = min(level, names.get(keyword.value.value, level))
    return names


def _level(name: str) -> int:
    """How high a file stands; inference lies below all."""
    module = name.replace("/", ".")
    return next((at for at, package in enumerate(LEVELS) if module.startswith(f"{package}.")), -1)


def _is_relation(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in RELATIONS


def _is_any(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


if __name__ == "__main__":
    sys.exit(main())
