"""Modules and style sheets are joined into few files."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from chatserver.web.page.bundles import joined
from chatserver.web.page.page_files import PAGE_FOLDER, slimmed

SCRIPT = '<script type="module" src="/static/js/main.js"></script>\n'


def files(**modules: str) -> dict[str, bytes]:
    """A page with these modules; `main` is the one that it names, and `a_b` is js/a/b.js."""
    named = {f"js/{name.replace('_', '/')}.js": text.encode() for name, text in modules.items()}
    return {"index.html": SCRIPT.encode(), **named}


def join(beside: Mapping[str, bytes] | None = None, **modules: str) -> tuple[dict[str, bytes], set[str]]:
    """The page of these modules, joined. `beside`: more files, by their paths."""
    return joined(files(**modules) | dict(beside or {}), ["index.html"])


def functions(script: bytes) -> list[str]:
    """The modules in a script, in their order."""
    return [name.decode() for name in re.findall(rb"^const \$js_(\w+) = \(\(\) => {$", script, re.MULTILINE)]


def test_modules_are_in_the_order_in_which_browsers_evaluate_them() -> None:
    made, parts = join(
        main='import { a } from "./x/a.js";\nimport "./b.js";\nlet main;\n',
        x_a='import { c } from "../c.js";\nexport const a = c;\n',
        b='import { c } from "./c.js";\nlet b;\n',
        c="export const c = 1;\n",
        unused="let unused;\n",
    )
    assert functions(made["js/main.js"]) == ["c", "x_a", "b", "main"]
    assert parts == {"js/x/a.js", "js/b.js", "js/c.js"}
    assert "js/main-more.js" not in made


def test_what_is_imported_by_a_call_has_a_file_of_its_own() -> None:
    made, parts = join(
        main='import { a } from "./a.js";\nconst later = () => import("./x/later.js");\n',
        a='export const a = () => import("./latest.js");\n',
        x_later='import { a } from "../a.js";\nimport { d } from "../d.js";\nvoid import("../latest.js");\n',
        d="export const d = 1;\n",
        latest="let latest;\n",
    )
    assert functions(made["js/main.js"]) == ["a", "main"]
    more = made["js/main-more.js"]
    assert sorted(functions(more)) == ["d", "latest", "x_later"]
    assert functions(more).index("d") < functions(more).index("x_later")
    assert more.startswith(b'import { $js_a } from "./main.js";\n')
    assert b'import("./main-more.js").then((all) => all.$js_x_later)' in made["js/main.js"]
    assert b'import("./main-more.js").then((all) => all.$js_latest)' in more
    assert "js/main.js" not in parts


@pytest.mark.parametrize(
    "source",
    [
        'export { a } from "./a.js";',
        'export * from "./a.js";',
        'import * as a from "./a.js";',
        'import a from "./a.js";',
        "export default 1;",
        "export let a = 1;",
        "export const { a } = {};",
        "const a = 1;\nexport { a };",
        'let a;\nimport { b } from "./a.js";',
        "let a = import.meta.url;",
        "let a = import.meta.resolve(name);",
        'let a = import.meta.resolve("https://example.org/");',
        "void import(`./${name}.js`);",
        "void import( './a.js');",
    ],
)
def test_forms_that_are_not_understood_are_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"js/odd\.js cannot be joined with others: .*(import|export)"):
        join(main='import "./odd.js";\n', odd=f"{source}\n", a="export const a = 1;\n")


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"main": 'import { b } from "./a.js";\n', "a": "export const a = 1;\n"}, "what js/a.js does not export: b"),
        ({"main": 'import "./a.js";\n'}, "js/main.js imports js/a.js, which is not there"),
        ({"main": 'import("./a.js");\n'}, "js/main.js imports js/a.js, which is not there"),
        ({"main": 'import "./a.js";\n', "a": 'import "./b.js";\n', "b": 'import "./a.js";\n'}, "in a circle"),
    ],
)
def test_imports_that_cannot_work_are_refused(modules: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        join(**modules)


def test_modules_whose_names_differ_in_punctuation_are_refused() -> None:
    modules = {"js/a-b.js": b"let a;\n", "js/a/b.js": b"let b;\n"}
    with pytest.raises(ValueError, match="differ in punctuation only"):
        join(modules, main='import "./a-b.js";\nimport "./a/b.js";\n')


def test_names_of_joined_files_are_free() -> None:
    with pytest.raises(ValueError, match=r"js/main-more\.js is the name of a file that is made of others"):
        join({"js/main-more.js": b""}, main='import("./a.js");\n', a="let a;\n")


def test_sheets_that_follow_each_other_become_one() -> None:
    def link(name: str, more: str = "") -> str:
        return f'\t<link rel="stylesheet" href="/static/css/{name}.css"{more}>\n'

    page = link("a") + link("b") + link("paper", ' media="print"') + link("c")
    sheets = {f"css/{name}.css": f"{name} {{}}\n".encode() for name in ("a", "b", "paper", "c")}
    made, parts = joined({"help.html": page.encode(), **sheets}, ["help.html"])
    assert made["css/help-all.css"] == b"a {}\n\nb {}\n"
    assert parts == {"css/a.css", "css/b.css"}
    linked = re.findall(rb'href="/static/css/(.*?)"', made["help.html"])
    assert linked == [b"help-all.css", b"paper.css", b"c.css"]


@pytest.mark.parametrize(("name", "text"), [("css/b.css", '@import "c.css";'), ("more/b.css", "")])
def test_sheets_that_would_mean_something_else_are_refused(name: str, text: str) -> None:
    page = "".join(f'<link rel="stylesheet" href="/static/{each}">\n' for each in ("css/a.css", name))
    with pytest.raises(ValueError, match=rf"{name} cannot be joined with css/a\.css"):
        joined({"index.html": page.encode(), "css/a.css": b"a {}\n", name: text.encode()}, ["index.html"])


def test_all_modules_of_the_page_are_joined_or_loaded_by_their_addresses() -> None:
    contents = {
        path.relative_to(PAGE_FOLDER).as_posix(): slimmed(path.read_bytes(), path.suffix)
        for path in PAGE_FOLDER.rglob("*")
        if path.is_file()
    }
    _, parts = joined(contents, ["help.html", "index.html"])
    alone = {name for name in contents.keys() - parts if name.endswith(".js")}
    by_address = {name for name in alone if name.startswith("js/languages/")} | {"js/base/look.js"}
    assert alone == by_address | {"js/main.js", "js/help/help.js"}
