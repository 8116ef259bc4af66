"""The scripts and style sheets of a page in few files.

The page is written in many small modules. A browser spends milliseconds on each request, and over HTTP/1.1 no more than
six are under way. So the modules that a page imports are sent in the file of the one that imports them, and those that
are imported later, by a call, in one more file. A module becomes a function that is called once, in the order in which
browsers evaluate modules, and returns what the module exports. There is one instance of each, as ever.

Only the forms of import and export that the page's modules have are understood. Any other raises ValueError.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

_SCRIPT = re.compile(rb'<script type="module" src="/static/([^"]+)">')
_SHEET = re.compile(rb'[ \t]*<link rel="stylesheet" href="/static/([^"]+)">\n')
_SHEETS = re.compile(rb"(?:%b){2,}" % _SHEET.pattern.replace(b"(", b"(?:"))

_IMPORT = re.compile(rb'^import (?:\{([^}]*)\} from )?"(\.[^"]+)";$', re.MULTILINE)
_IMPORT_CALL = re.compile(rb'\bimport\("(\.[^"]+)"\)')
_ADDRESS = re.compile(rb'(?<=\bimport\.meta\.resolve\(["`])(\.[^"`]*)')
_EXPORT = re.compile(rb"^export (?=(?:const|class|(?:async )?function) ([\w$]+))", re.MULTILINE)
_ANY = re.compile(rb"^(?:import|export)\b(?![(.]).*", re.MULTILINE)


def joined(contents: Mapping[str, bytes], pages: Iterable[str]) -> tuple[dict[str, bytes], set[str]]:
    """The files, with the scripts and style sheets of `pages` joined, and the names of those that went into others.

    The modules that a page names hold those that they import; what is imported later is in a file of the same name with
    `-more` behind it. What went into other files remains: pages of another version of the server ask for it.
    """
    files, parts = dict(contents), set[str]()
    entries: set[str] = set()
    for page in pages:
        for entry in [name.decode() for name in _SCRIPT.findall(contents[page])]:
            at_once, later = _parts(contents, entry)
            if at_once == [entry] and not later:
                continue
            files |= _scripts(contents, entry, at_once, later)
            parts.update(at_once, later)
            entries.add(entry)
        files[page], sheets, names = _with_joined_sheets(contents, page)
        files |= sheets
        parts |= names
    return files, parts - entries


# --- style sheets -----------------------------------------------------------------------------------------


def _with_joined_sheets(contents: Mapping[str, bytes], page: str) -> tuple[bytes, dict[str, bytes], set[str]]:
    """The page with one link instead of a row of links to style sheets; the joined sheet; and what went into it."""
    links = _SHEETS.search(contents[page])
    if links is None:
        return contents[page], {}, set()
    names = [name.decode() for name in _SHEET.findall(links[0])]
    # Beside the first one, so that what it refers to is found.
    name = _new_name(contents, posixpath.join(posixpath.dirname(names[0]), f"{posixpath.splitext(page)[0]}-all.css"))
    link = b'<link rel="stylesheet" href="/static/%b">\n' % name.encode()
    text = contents[page][: links.start()] + link + contents[page][links.end() :]
    return text, {name: b"".join(contents[each] for each in names)}, set(names)


def _new_name(contents: Mapping[str, bytes], name: str) -> str:
    if name in contents:
        raise ValueError(f"{name} is the name of a file that is made of others")
    return name


# --- modules ----------------------------------------------------------------------------------------------


def _parts(contents: Mapping[str, bytes], entry: str) -> tuple[list[str], list[str]]:
    """The modules that the entry imports, itself included, and those that any of all these import by a call.

    Each list in the order of evaluation.
    """
    seen = set[str]()
    at_once = list(_in_order(contents, entry, seen))
    later: list[str] = []
    for importer in _growing(at_once, later):
        for called in _targets(contents, importer, _IMPORT_CALL):
            later += _in_order(contents, called, seen)
    return at_once, later


def _growing(one: list[str], other: list[str]) -> Iterator[str]:
    yield from one
    yield from other  # it grows meanwhile


def _in_order(contents: Mapping[str, bytes], module: str, seen: set[str]) -> Iterator[str]:
    """The module behind all that it imports; without those that were seen."""
    if module in seen:
        return
    seen.add(module)
    for imported in _targets(contents, module, _IMPORT):
        yield from _in_order(contents, imported, seen)
    yield module


def _targets(contents: Mapping[str, bytes], module: str, statement: re.Pattern[bytes]) -> Iterator[str]:
    for found in statement.finditer(contents[module]):
        yield _beside(module, found[found.re.groups].decode())


def _beside(module: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(module), path))


def _scripts(
    contents: Mapping[str, bytes], entry: str, at_once: Sequence[str], later: Sequence[str]
) -> dict[str, bytes]:
    stem, suffix = posixpath.splitext(entry)
    more = _new_name(contents, f"{stem}-more{suffix}")
    place = dict.fromkeys(at_once, entry) | dict.fromkeys(later, more)
    scripts = {}
    for script, modules in ((entry, at_once), (more, later)):
        if not modules:
            continue
        elsewhere = {name for module in modules for name in _targets(contents, module, _IMPORT)} - set(modules)
        lines = [b"import { %b } from %b;\n" % (_listed(elsewhere), _address(script, entry))] if elsewhere else []
        lines += [_as_function(contents[module], module, script, place) for module in modules]
        lines.append(b"export { %b };\n" % _listed(modules))
        scripts[script] = b"".join(lines)
    return scripts


def _as_function(source: bytes, module: str, script: str, place: Mapping[str, str]) -> bytes:
    """The module as a part of `script`: `const $name = (() => { … return { what it exports }; })();`."""
    exported = [name for (name,) in (match.groups() for match in _EXPORT.finditer(source))]
    body = _IMPORT.sub(partial(_taken, module), _EXPORT.sub(b"", source))
    if (statement := _ANY.search(body)) is not None:
        raise ValueError(f"{module} cannot be joined with others: {statement[0].decode()}")

    def call(found: re.Match[bytes]) -> bytes:
        target = _beside(module, found[1].decode())
        return b"import(%b).then((all) => all.%b)" % (_address(script, place[target]), _variable(target))

    def address(found: re.Match[bytes]) -> bytes:
        return posixpath.relpath(_beside(module, found[1].decode()), posixpath.dirname(script)).encode()

    body = _ADDRESS.sub(address, _IMPORT_CALL.sub(call, body))
    return b"const %b = (() => {\n%breturn { %b };\n})();\n" % (_variable(module), body, b", ".join(exported))


def _taken(module: str, statement: re.Match[bytes]) -> bytes:
    """What an import becomes: names are taken out of what the other module exports."""
    names, path = statement.groups()
    if not names:
        return b""
    return b"const {%b} = %b;" % (names.replace(b" as ", b": "), _variable(_beside(module, path.decode())))


def _variable(module: str) -> bytes:
    return b"$" + re.sub(r"\W", "_", module).encode()


def _listed(modules: Iterable[str]) -> bytes:
    return b", ".join(sorted(map(_variable, modules)))


def _address(script: str, target: str) -> bytes:
    path = posixpath.relpath(target, posixpath.dirname(script))
    return b'"%b"' % (path if path.startswith(".") else f"./{path}").encode()
