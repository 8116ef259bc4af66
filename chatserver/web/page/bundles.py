"""The scripts and style sheets of a page in few files.

The page is written in many small modules. A browser spends milliseconds on each request, and over HTTP/1.1 no more than
six are under way. So the modules that a page imports are sent in the file of the one that imports them, and those that
are imported later, by a call, in one more file. A module becomes a function that is called once, and returns what the
module exports. Each is called after those that it imports, as browsers evaluate modules, and there is one instance of
each.

This is no parser. It understands how the page's modules are written: imports stand first and name what they take;
`export` stands before a `const` of one name, a function or a class; later imports and addresses are literal, as in
`import("./a.js")` and `import.meta.resolve("./b.svg")`; modules import each other in no circle and do not `await` while
they are evaluated.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

STATIC_PREFIX = "/static/"

_HREF = rb'"%b(?P<name>[^"]+)"' % STATIC_PREFIX.encode()
_SCRIPT = re.compile(rb'<script type="module" src=%b>' % _HREF)
_SHEET = re.compile(rb'[ \t]*<link rel="stylesheet" href=%b>\n' % _HREF)
_SHEETS = re.compile(rb'(?:[ \t]*<link rel="stylesheet" href="[^"]+">\n){2,}')

_IMPORT = re.compile(rb'^import (?:\{(?P<names>[^}]*)\} from )?"(?P<path>\.[^"]+)";\n', re.MULTILINE)
_IMPORTS_FIRST = re.compile(rb"(?:%b)*" % re.sub(rb"\?P<\w+>", b"?:", _IMPORT.pattern), re.MULTILINE)
_IMPORT_CALL = re.compile(rb'\bimport\("(?P<path>\.[^"]+)"\)')
_ADDRESS = re.compile(rb'(?<=\bimport\.meta\.resolve\(["`])(?P<path>\.[^"`]*)')
_EXPORT = re.compile(rb"^export (?=(?:const|class|(?:async )?function) (?P<name>[\w$]+))", re.MULTILINE)
_NOT_UNDERSTOOD = re.compile(
    rb"^(?:import|export)\b(?![(.]).*"
    rb"|\bimport\.meta\b(?!\.resolve\([\"`]\.).*"
    rb"|\bimport\s*\(\s*[`'].*",
    re.MULTILINE,
)


def joined(contents: Mapping[str, bytes], pages: Iterable[str]) -> tuple[dict[str, bytes], set[str]]:
    """The files, with the scripts and style sheets of `pages` joined, and the names of those that went into others.

    `contents` are files by their path below STATIC_PREFIX, without comments on lines of their own, and without indents.
    The module that a page names holds all that it imports; what is imported later is in a file of the same name with
    `-more` behind it; the style sheets are in one that is named like the page, with `-all` behind it. What went into
    other files remains: pages of another version of the server ask for it.

    Raises ValueError for what is not understood, and for files that are missing.
    """
    files, parts = dict(contents), set[str]()
    entries: set[str] = set()
    for page in pages:
        for entry in [match["name"].decode() for match in _SCRIPT.finditer(contents[page])]:
            bundle = _Bundle.of(contents, entry)
            if len(bundle.places) > 1:
                files |= bundle.scripts()
            parts |= bundle.places.keys()
            entries.add(entry)
        files[page], sheets, names = _with_joined_sheets(contents, page)
        files |= sheets
        parts |= names
    return files, parts - entries


def _new_name(contents: Mapping[str, bytes], name: str) -> str:
    if name in contents:
        raise ValueError(f"{name} is the name of a file that is made of others")
    return name


# --- style sheets -----------------------------------------------------------------------------------------


def _with_joined_sheets(contents: Mapping[str, bytes], page: str) -> tuple[bytes, dict[str, bytes], set[str]]:
    """The page with one link instead of a row of links to style sheets; the joined sheet; and what went into it."""
    links = _SHEETS.search(contents[page])
    if links is None:
        return contents[page], {}, set()
    names = [match["name"].decode() for match in _SHEET.finditer(links[0])]
    folder = posixpath.dirname(names[0])
    for name in names:
        # What it refers to is found from the folder alone, and imports stand first in a sheet or do not count.
        if posixpath.dirname(name) != folder or b"@import" in contents[name]:
            raise ValueError(f"{name} cannot be joined with {names[0]}")
    joined_name = _new_name(contents, posixpath.join(folder, f"{posixpath.splitext(page)[0]}-all.css"))
    link = b'<link rel="stylesheet" href="%b%b">\n' % (STATIC_PREFIX.encode(), joined_name.encode())
    text = contents[page][: links.start()] + link + contents[page][links.end() :]
    return text, {joined_name: b"\n".join(contents[name] for name in names)}, set(names)


# --- modules ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bundle:
    """The modules of a page, and the scripts that they become part of. `more` is the one of those imported later."""

    contents: Mapping[str, bytes]
    entry: str
    more: str
    places: Mapping[str, str]
    """The script of each module; each module stands behind those that it imports."""

    @classmethod
    def of(cls, contents: Mapping[str, bytes], entry: str) -> _Bundle:
        stem, suffix = posixpath.splitext(entry)
        more = _new_name(contents, f"{stem}-more{suffix}")
        places = dict.fromkeys(_in_order(contents, entry, set(), ()), entry)
        modules = list(places)
        for importer in modules:
            for called in _targets(contents, importer, _IMPORT_CALL):
                new = list(_in_order(contents, called, set(places), ()))
                places |= dict.fromkeys(new, more)
                modules += new  # They may import others later, too: the loop goes on with them.
        if len({_variable(module) for module in places}) < len(places):
            raise ValueError(f"Two modules of {entry} have names that differ in punctuation only")
        return cls(contents, entry, more, places)

    def scripts(self) -> dict[str, bytes]:
        scripts = {}
        for script in dict.fromkeys(self.places.values()):
            modules = [module for module, place in self.places.items() if place == script]
            imported = {name for module in modules for name in _targets(self.contents, module, _IMPORT)}
            elsewhere = imported - set(modules)
            head = b"import { %b } from %b;\n" % (_variables(elsewhere), self._address(script, self.entry))
            functions = b"".join(self._function(module) for module in modules)
            scripts[script] = b"%b%bexport { %b };\n" % (head if elsewhere else b"", functions, _variables(modules))
        return scripts

    def _function(self, module: str) -> bytes:
        """The module as a part of its script: `const $name = (() => { … return { what it exports }; })();`."""
        source, script = self.contents[module], self.places[module]
        first = _IMPORTS_FIRST.match(source)
        imports, body = (source[: first.end()], source[first.end() :]) if first else (b"", source)
        taken = b"".join(self._taken(module, statement) for statement in _IMPORT.finditer(imports))
        body = _EXPORT.sub(b"", body)
        if (statement := _NOT_UNDERSTOOD.search(body)) is not None:
            raise ValueError(f"{module} cannot be joined with others: {statement[0].decode()}")

        def call(found: re.Match[bytes]) -> bytes:
            target = _beside(module, found)
            return b"import(%b).then((all) => all.%b)" % (self._address(script, self.places[target]), _variable(target))

        def address(found: re.Match[bytes]) -> bytes:
            return self._relative(script, _beside(module, found)).encode()

        body = _ADDRESS.sub(address, _IMPORT_CALL.sub(call, body))
        exports = b", ".join(_exports(source))
        return b"const %b = (() => {\n%b%b\nreturn { %b };\n})();\n" % (_variable(module), taken, body, exports)

    def _taken(self, module: str, statement: re.Match[bytes]) -> bytes:
        """What an import becomes: names are taken out of what the other module exports."""
        if not statement["names"]:
            return b""
        target = _beside(module, statement)
        names = [name.split() for name in statement["names"].split(b",") if name.strip()]
        if missing := {name[0] for name in names} - set(_exports(self.contents[target])):
            raise ValueError(f"{module} imports what {target} does not export: {b', '.join(missing).decode()}")
        listed = b", ".join(b": ".join((name[0], name[-1])) if len(name) > 1 else name[0] for name in names)
        return b"const { %b } = %b;\n" % (listed, _variable(target))

    def _address(self, script: str, target: str) -> bytes:
        return b'"%b"' % self._relative(script, target).encode()

    @staticmethod
    def _relative(script: str, target: str) -> str:
        path = posixpath.relpath(target, posixpath.dirname(script))
        return path if path.startswith("../") else f"./{path}"


def _in_order(contents: Mapping[str, bytes], module: str, seen: set[str], importers: Sequence[str]) -> Iterator[str]:
    """The module behind all that it imports, without those that were seen. `importers` are on the way to it."""
    if module in importers:
        raise ValueError(f"Modules import each other in a circle: {', '.join((*importers, module))}")
    if module in seen:
        return
    for imported in _targets(contents, module, _IMPORT):
        yield from _in_order(contents, imported, seen, (*importers, module))
    seen.add(module)
    yield module


def _targets(contents: Mapping[str, bytes], module: str, statement: re.Pattern[bytes]) -> Iterator[str]:
    """The modules that `module` imports by such statements."""
    for found in statement.finditer(contents[module]):
        target = _beside(module, found)
        if target not in contents:
            raise ValueError(f"{module} imports {target}, which is not there")
        yield target


def _beside(module: str, found: re.Match[bytes]) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(module), found["path"].decode()))


def _exports(source: bytes) -> list[bytes]:
    return _EXPORT.findall(source)


def _variable(module: str) -> bytes:
    return b"$" + re.sub(r"\W", "_", posixpath.splitext(module)[0]).encode()


def _variables(modules: Iterable[str]) -> bytes:
    return b", ".join(sorted(map(_variable, modules)))
