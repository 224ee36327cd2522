"""Every key of a training recipe, read from the sources of the dataclasses that it becomes."""

import ast
from pathlib import Path

from tools.measured import table

SOURCE = Path(__file__).parents[2] / "scripts" / "training" / "recipe.py"
SECTIONS = {"Recipe": "", "Data": "data", "Generated": "generated", "Fit": "fit", "Validation": "validation"}
"""The tables of a recipe, by the dataclass that each becomes."""


def keys() -> str:
    """A section for each table: its keys with type, default and meaning."""
    classes = {
        node.name: node
        for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name in SECTIONS
    }
    sections = []
    for name, section in SECTIONS.items():
        title = f"`[{section}]`" if section else "At the top"
        words = ast.get_docstring(classes[name]) or ""
        rows = table(("key", "type", "default", "meaning"), _rows(classes[name]))
        sections.append(f"### {title}\n\n{words}\n\n{rows}")
    return "\n".join(sections)


def _rows(node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    rows = []
    for item, after in zip(node.body, node.body[1:], strict=False):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if isinstance(item.value, ast.Call):  # a table of its own
            continue
        assert isinstance(after, ast.Expr)
        meaning = " ".join(ast.literal_eval(after.value).split())
        default = "must be given" if item.value is None else f"`{_toml(ast.literal_eval(item.value))}`"
        rows.append((f"`{item.target.id}`", f"`{ast.unparse(item.annotation)}`".replace("|", "\\|"), default, meaning))
    return rows


def _toml(value: object) -> str:
    """A default as a recipe would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
