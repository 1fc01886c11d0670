"""Imports run one way: no circle of files in any crate, nor in the package.

A file that uses another one knows it; in a circle nobody can be read, tested or moved alone. Rust
and Python both allow circles, so this reads the sources.

What counts, in both languages: every `use` and `import`, within functions too, followed through
re-exports to the file that a name really comes from. What does not:

- A child's look at a module that it lies in (`super::Session` in `session/idle.rs`): it is part of
  that module, split off. What it finds there by re-export is the child's own use of that file.
- Tests: they look at everything, and nothing looks at them.
- What is imported under `TYPE_CHECKING`: an annotation names what a file is handed. Nothing of it
  is run, so it can be read, tested and moved without.
- That Python runs `a/__init__.py` before `a/b.py`: it imports nothing that a file could miss.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CRATES = sorted(path.parent for path in ROOT.glob("crates/*/Cargo.toml"))
PACKAGE = ROOT / "python/roomkit"

Module = tuple[str, ...]  # ("session", "idle"); () is the crate or package itself
Graph = dict[Module, set[Module]]


@pytest.mark.parametrize("crate", CRATES, ids=lambda crate: crate.name)
def test_no_circle_of_files_in_a_crate(crate: Path) -> None:
    assert circle(rust_graph(rust_sources(crate / "src"))) is None


def test_no_circle_of_files_in_the_package() -> None:
    assert circle(python_graph(python_sources(PACKAGE))) is None


def circle(graph: Graph) -> list[str] | None:
    """The files of one circle in order, if there is one."""
    done: set[Module] = set()
    path: list[Module] = []

    def visit(module: Module) -> list[Module] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        for used in sorted(graph.get(module, ())):
            if used != module[: len(used)] and (found := visit(used)):
                return found
        done.add(path.pop())
        return None

    for module in sorted(graph):
        if found := visit(module):
            return ["::".join(name) for name in found]
    return None


# Rust


def rust_sources(folder: Path) -> dict[Module, str]:
    """Each module's source without comments, strings and tests."""
    found = {}
    for path in sorted(folder.rglob("*.rs")):
        name = path.relative_to(folder).with_suffix("").parts
        found[name[:-1] if name[-1] in ("lib", "mod") else name] = rust_code(path.read_text())
    shipped = {()} | {
        (*module, child)
        for module, code in found.items()
        for child in re.findall(r"\bmod (\w+);", code)
    }
    return {module: code for module, code in found.items() if module in shipped}


def rust_code(source: str) -> str:
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)
    code = re.sub(r'"(?:\\.|[^"\\])*"', '""', code, flags=re.DOTALL)
    code = re.sub(r"'(?:\\.|[^'\\])'", "' '", code)
    while test := re.search(r"#\[cfg\([^\]]*\btest\b[^\]]*\)\]", code):
        code = code[: test.start()] + code[end_of_item(code, test.end()) :]
    return code


def end_of_item(code: str, start: int) -> int:
    """Behind the item that begins there: at its `;` or `,`, or with its last brace."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] in "{([") - (code[at] in "})]")
        if depth < 0:
            return at
        if depth == 0 and code[at] in ";,}":
            return at + 1
    return len(code)


def rust_graph(sources: dict[Module, str]) -> Graph:
    names = {module: dict(rust_names(module, code)) for module, code in sources.items()}

    def home(path: Module, seen: frozenset[Module] = frozenset()) -> Module:
        """The module that a path's item is written in."""
        module: Module = ()
        for depth, name in enumerate(path):
            if (*module, name) in sources:
                module = (*module, name)
            elif name in names[module] and path not in seen:
                return home(names[module][name] + path[depth + 1 :], seen | {path})
            else:
                break
        return module

    graph: Graph = {module: set() for module in sources}
    for module, code in sources.items():
        paths = {path for _, path in rust_names(module, code)}
        for prefix, rest in re.findall(r"\b(crate|self|super)((?:::\w+)+)", code):
            paths.add(absolute(module, [prefix, *rest[2:].split("::")]))
        for child in re.findall(r"\bmod (\w+);", code):
            paths.add((*module, child))
        graph[module] = {home(path) for path in paths}
    return graph


def rust_names(module: Module, code: str) -> Iterator[tuple[str, Module]]:
    """The names that the `use` of a module brings into it, and the paths that they stand for."""
    children = set(re.findall(r"\bmod (\w+);", code))
    for tree in re.findall(r"\buse ([^;]+);", code):
        for path in leaves(re.sub(r"\s+", " ", tree).strip()):
            path, _, alias = path.partition(" as ")
            parts = [part.strip() for part in path.split("::")]
            if parts[0] in ("crate", "self", "super") or parts[0] in children:
                if parts[-1] == "self":
                    parts.pop()
                yield alias.strip() or parts[-1], absolute(module, parts)


def leaves(tree: str) -> Iterator[str]:
    """`a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`."""
    head, brace, rest = tree.partition("{")
    if not brace:
        yield tree
        return
    depth, start = 0, 0
    inner = rest[: rest.rindex("}")]
    for at, character in enumerate(inner + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if part := inner[start:at].strip():
                yield from leaves(head + part)
            start = at + 1


def absolute(module: Module, parts: list[str]) -> Module:
    """What a path that is written in `module` stands for, from the root of the crate."""
    first, rest = parts[0], parts[1:]
    if first == "crate":
        return tuple(rest)
    if first == "super":
        return absolute(module[:-1], rest)
    return (*module, *(rest if first == "self" else parts))


# Python


def python_sources(folder: Path) -> dict[Module, ast.Module]:
    found = {}
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.pyi")]):
        name = path.relative_to(folder).with_suffix("").parts
        found[name[:-1] if name[-1] == "__init__" else name] = ast.parse(path.read_text())
    return found


def python_graph(sources: dict[Module, ast.Module]) -> Graph:
    names = {module: dict(python_names(module, tree)) for module, tree in sources.items()}

    def home(path: Module, seen: frozenset[Module] = frozenset()) -> Module:
        if path in sources:
            return path
        again = names.get(path[:-1], {}).get(path[-1])
        return home(again, seen | {path}) if again and path not in seen else path[:-1]

    return {
        module: {home(path) for _, path in python_names(module, tree)}
        for module, tree in sources.items()
    }


def python_names(module: Module, tree: ast.Module) -> Iterator[tuple[str, Module]]:
    """The names that a file imports from the package, and where from."""
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and is_typing(node)]
    skipped = {inner for node in typing for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            package, *path = (node.module or "").split(".")
            if package == PACKAGE.name:
                for name in node.names:
                    yield name.asname or name.name, (*path, name.name)
        elif isinstance(node, ast.Import):
            for name in node.names:
                package, *path = name.name.split(".")
                if package == PACKAGE.name:
                    yield name.asname or package, tuple(path)


def is_typing(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


# The rules themselves


def test_a_circle_is_found_through_re_exports_and_children() -> None:
    sources = {
        (): "mod a; mod b; mod d; pub use b::{B, c::C};",
        ("a",): "use crate::{B as Renamed};",
        ("b",): "mod c; use c::C; fn b() {}",
        ("b", "c"): "use super::b; fn c() { crate::d::d(); }",
        ("d",): "fn d() {}",
    }
    graph = rust_graph({module: rust_code(code) for module, code in sources.items()})
    assert graph["a",] == {("b",)}
    assert circle(graph) is None, "a child may look at what it lies in"
    sources["d",] = "use super::a::{A, self};"
    graph = rust_graph({module: rust_code(code) for module, code in sources.items()})
    assert circle(graph) == ["a", "b", "b::c", "d", "a"]


def test_tests_comments_and_strings_are_no_use_of_anything() -> None:
    code = """
    // use crate::a;
    /* use crate::b; */ const TEXT: &str = "use crate::c;";
    #[cfg(test)]
    mod tests;
    #[cfg(all(test, unix))]
    mod more { use crate::d; fn f(x: [u8; 2]) { if x == [0, 0] {} } }
    #[cfg(test)]
    use crate::e::{f, g};
    use crate::kept;
    """
    kept = rust_code(code)
    assert re.findall(r"crate::\w+|mod \w+", kept) == ["crate::kept"]
    assert dict(rust_names((), kept)) == {"kept": ("kept",)}


def test_python_circles_are_found_within_functions_and_through_packages() -> None:
    sources = {
        (): "from roomkit.a import A",
        ("a",): "from roomkit.b import c",
        ("b",): "from roomkit.b.c import C",
        ("b", "c"): "def f():\n    from roomkit import A",
        ("d",): "if TYPE_CHECKING:\n    from roomkit.e import E",
        ("e",): "from roomkit.d import D",
    }
    graph = python_graph({module: ast.parse(text) for module, text in sources.items()})
    assert circle(graph) == ["a", "b::c", "a"]
