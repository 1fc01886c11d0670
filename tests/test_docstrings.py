"""The docstrings that the reference shows: their blocks of code are fenced, all else is left."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("griffe", reason="pip install '.[docs]' brings it")


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    path = Path(__file__).parents[1] / "tools/docstrings.py"
    spec = importlib.util.spec_from_file_location("docstrings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Says it.", "Says it."),
        ("A `dict::` of it: nothing\n    indented by chance.", None),
        (
            "Does it::\n\n    a = 1\n\n    if a:\n        b()\n\nAnd more.",
            "Does it:\n\n```python\na = 1\n\nif a:\n    b()\n```\n\nAnd more.",
        ),
        ("Tree.\n\n::\n\n    A\n    ├── B\n    └── C", "Tree.\n\n```text\nA\n├── B\n└── C\n```"),
        (
            "One::\n\n    a()\n\nTwo::\n\n    b()",
            "One:\n\n```python\na()\n```\n\nTwo:\n\n```python\nb()\n```",
        ),
        ("Args:\n    a: Of it::\n\n        not_a_block_of_the_docstring\n", None),
    ],
)
def test_blocks_of_code_are_fenced(docstrings: ModuleType, written: str, shown: str | None) -> None:
    assert docstrings.fenced(written) == (written.rstrip("\n") if shown is None else shown)
