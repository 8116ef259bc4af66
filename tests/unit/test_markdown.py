"""Markdown becomes HTML that is safe, and loses no word, for any text."""

from __future__ import annotations

import re
import time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.rendering import highlighting
from chatserver.rendering.markdown import render

TO = 'target="_blank" rel="noopener noreferrer nofollow"'

# The attributes of each tag, with their allowed values. Not the list of the code, which may be wrong.
LINK = {"href": r"https?://.+|mailto:.+", "title": r".+", "target": "_blank", "rel": "noopener noreferrer nofollow"}
CELL = {"align": "left|center|right"}
BARE = "p br hr h2 h3 h4 h5 h6 blockquote ul li pre em strong s table thead tbody tr"
MATH_TAGS = (
    "menclose mfrac mi mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub msubsup msup mtable mtd mtext "
    "mtr munder munderover"
)
LENGTH = r"[+-]?[0-9]?(\.[0-9]+)?(em|ex)|[+-]?[0-9]{0,2}(\.[0-9]+)?(pt|px|mu)|0"
MATH = {
    **dict.fromkeys(
        ("accent", "accentunder", "columnalign", "columnlines", "displaystyle", "fence", "form", "largeop",
         "mathvariant", "movablelimits", "notation", "rowlines", "scriptlevel", "separator", "stretchy"), "[a-z0-9 -]+",
    ),
    **dict.fromkeys(
        ("columnspacing", "depth", "height", "linethickness", "lspace", "maxsize", "minsize", "rowspacing", "rspace",
         "voffset", "width"), f"({LENGTH})( ({LENGTH}))*",
    ),
}  # fmt: skip
TAGS: dict[str, dict[str, str]] = {
    **{tag: {} for tag in BARE.split()},
    "a": LINK,
    "ol": {"start": "[0-9]{1,9}"},
    "code": {"class": r"language-[A-Za-z0-9_+#.-]+"},
    "span": {"class": r"[a-z0-9]{1,3}"},
    "sup": {},
    "input": {"type": "checkbox", "disabled": "", "checked": "", "aria-label": "done|not done"},
    "math": {"display": "inline|block"},
    "semantics": {},
    "annotation": {"encoding": "application/x-tex"},
    **dict.fromkeys(MATH_TAGS.split(), MATH),
    "th": CELL,
    "td": CELL,
}


class Page(HTMLParser):
    """Reads HTML as a browser does; fails for tags and attributes that are not allowed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.values = ""
        self.levels: list[int] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        for name, value in attrs:
            assert name in TAGS[tag], (tag, name)
            assert re.fullmatch(TAGS[tag][name], value or "", re.IGNORECASE | re.DOTALL), (tag, name, value)
            self.values += f" {value}"
        assert tag != "a" or set(dict(attrs)) - {"title"} == {"href", "target", "rel"}
        assert tag != "a" or "a" not in self._open
        if re.fullmatch("h[2-6]", tag):
            self.levels.append(int(tag[1]))
        if tag not in ("br", "hr", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


# --- what it becomes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("", ""),
        ("  \n\n", ""),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("one\r\ntwo", "<p>one<br>\ntwo</p>"),
        ("one\n\ntwo", "<p>one</p>\n<p>two</p>"),
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>"),
        ("a\n\n---\n\nb", "<p>a</p>\n<hr>\n<p>b</p>"),
        ("> said", "<blockquote>\n<p>said</p>\n</blockquote>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("7. a\n8. b", '<ol start="7">\n<li>a</li>\n<li>b</li>\n</ol>'),
        ("4 < 5 && 6 > 5", "<p>4 &lt; 5 &amp;&amp; 6 &gt; 5</p>"),
        (r"\*not\* &lt;b&gt;", "<p>*not* &lt;b&gt;</p>"),
    ],
)
def test_text_is_rendered(markdown: str, html: str) -> None:
    assert render(markdown) == html


@pytest.mark.parametrize(
    ("markdown", "levels"),
    [
        ("# a", [2]),
        ("### a\n## b\n#### c", [2, 2, 3]),
        ("# a\n### b\n##### c\n### d\n# e", [2, 3, 4, 3, 2]),
        ("a\n=\nb\n-", [2, 3]),
        ("# a\n## b\n### c\n#### d\n##### e\n###### f", [2, 3, 4, 5, 6, 6]),
        ("> ## a\n\n- # b\n- ### c", [2, 2, 3]),
    ],
)
def test_headings_begin_at_h2_and_skip_no_level(markdown: str, levels: list[int]) -> None:
    assert Page(render(markdown)).levels == levels


def test_table_is_aligned_without_styles() -> None:
    assert render("|a|b|c|d|\n|:-|:-:|-:|-|\n|1|2|3|4|") == (
        "<table>\n<thead>\n<tr>\n"
        '<th align="left">a</th>\n<th align="center">b</th>\n<th align="right">c</th>\n<th>d</th>\n'
        '</tr>\n</thead>\n<tbody>\n<tr>\n<td align="left">1</td>\n<td align="center">2</td>\n<td align="right">3</td>\n'
        "<td>4</td>\n</tr>\n</tbody>\n</table>"
    )


# --- links and images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("[a](http://b.c)", f'<a href="http://b.c" {TO}>a</a>'),
        ("[a](HTTPS://b.c/d?e=f&g#h)", f'<a href="HTTPS://b.c/d?e=f&amp;g#h" {TO}>a</a>'),
        ("[a](mailto:b@c.d)", f'<a href="mailto:b@c.d" {TO}>a</a>'),
        ('[a](http://b.c "d")', f'<a href="http://b.c" title="d" {TO}>a</a>'),
        ("[a](http://[::1]:8000/)", f'<a href="http://[::1]:8000/" {TO}>a</a>'),
        ("[a](http://b.c/ä%20%E4)", f'<a href="http://b.c/%C3%A4%20%E4" {TO}>a</a>'),
        ("[a][d]\n\n[d]: http://b.c", f'<a href="http://b.c" {TO}>a</a>'),
        ("<http://b.c>", f'<a href="http://b.c" {TO}>http://b.c</a>'),
        ("<a@b.c>", f'<a href="mailto:a@b.c" {TO}>a@b.c</a>'),
        ("see https://b.c/d_e_f.", f'see <a href="https://b.c/d_e_f" {TO}>https://b.c/d_e_f</a>.'),
        ("https://xn--d1a.de/%C3%A9", f'<a href="https://xn--d1a.de/%C3%A9" {TO}>https://xn--d1a.de/%C3%A9</a>'),
        ("**https://b.c**", f'<strong><a href="https://b.c" {TO}>https://b.c</a></strong>'),
        # Without words, or within another.
        ("[](http://b.c)", f'<a href="http://b.c" {TO}>http://b.c</a>'),
        ("[ ](http://b.c)", f'<a href="http://b.c" {TO}> http://b.c</a>'),
        ("[<http://a.b>](http://c.d)", f'<a href="http://c.d" {TO}>http://a.b</a>'),
        # Nothing is loaded.
        ("![a](http://b.c/d.png)", f'<a href="http://b.c/d.png" {TO}>a</a>'),
        ("![](http://b.c/d.png)", f'<a href="http://b.c/d.png" {TO}>http://b.c/d.png</a>'),
        ("![*a* `b` \\*](http://b.c 'd')", f'<a href="http://b.c" title="d" {TO}>a b *</a>'),
        ("[![a](http://i.j)](http://b.c)", f'<a href="http://b.c" {TO}>a</a>'),
        ("[![](http://i.j)](http://b.c)", f'<a href="http://b.c" {TO}>http://i.j</a>'),
        ("[![a](http://i.j 'd')](http://b.c)", f'<a href="http://b.c" {TO}>a (d)</a>'),
        ("![![a](http://i.j)](http://b.c)", f'<a href="http://b.c" {TO}>a</a>'),
    ],
)
def test_link_is_rendered(markdown: str, html: str) -> None:
    assert render(markdown) == f"<p>{html}</p>"


@pytest.mark.parametrize(
    "markdown",
    [
        "setup.py",
        "www.example.com",
        "example.com/path",
        "somebody@example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "[a](b)",
        "[a](/b)",
        "[a](#b)",
        "[a](//b.c)",
        "[a](http:b)",
        "[a](http:///b)",
        "[a](http://[b)",
        "[a](mailto:)",
        "[a]()",
        "![a]()",
        "![a](b.png)",
        "![a](data:image/png;base64,AAAA)",
        "[a](javascript:alert(1))",
        "[a](JavaScript:alert)",
        "[a](vbscript:b)",
        "[a](data:text/html,b)",
        "[a](view-source:b)",
        "[a]: javascript:alert",
        "[a]: /b",
    ],
)
def test_text_that_is_not_a_link_stays_as_written(markdown: str) -> None:
    assert render(markdown) == f"<p>{markdown}</p>"


@pytest.mark.parametrize(
    "scheme", ["&#106;avascript:", "java\tscript:", "\x01javascript:", "javascript&colon;", "&#x6A;avascript:"]
)
def test_disguised_scheme_is_not_a_link(scheme: str) -> None:
    for markdown in (
        f"[a]({scheme}alert(1))",
        f"[a](<{scheme}alert(1)>)",
        f"<{scheme}alert(1)>",
        f"[a]\n\n[a]: {scheme}b",
    ):
        assert "<a" not in render(markdown), markdown


@pytest.mark.parametrize(
    ("address", "after"),
    [
        ("https://b.c/d", "。谢谢"),
        ("https://b.c/d", "（中文说明）"),
        ("https://b.c/d", "，请"),
        ("https://b.c/d", "、と"),
        ("https://b.c/d", "」です"),
        ("https://b.c/d", "》"),
        ("https://b.c", "，谢谢"),
        ("https://b.c", "查看"),
        ("https://b.c/d", "…"),
        ("https://b.c/d", "\u3000x"),
        ("https://b.c/d", "\u200b"),
        ("https://b.c/d", '"'),
        ("https://b.c/d", "”"),
        ("https://b.c/d", "'"),
        ("https://b.c/d", "’"),
        ("https://b.c/d", "»"),
        ("https://b.c/d", "›,"),
        ("https://b.c/d", "'."),
        ("https://b.c/d", ")."),
        ("https://b.c/d_(e)", ")"),
        ("https://b.c/d", "]"),
        ("https://b.c/d", "}"),
        ("https://b.c/d", "?!"),
        ("https://b.c/d*e", "*"),
        ("https://b.c/中文/ä", "。"),
        ("https://b.c/it's", ""),
        ("https://b.c/Michelson–Morley", "–"),
        ("https://b.c/d", "——请"),
        ("https://b.c/@d?e=@f", "："),
        ("https://b.c:80", ",d"),
        ("https://b.c", ";d"),
        ("https://b.c/d", "｜e"),
        ("https://日本語.jp/d", "。"),
        ("http://[::1]:8000/d", "；"),
        ("mailto:a@b.c", "。"),
    ],
)
def test_bare_link_ends_before_what_follows_it(address: str, after: str) -> None:
    html = render(f"x {address}{after}")
    ((href, words),) = re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', html)
    assert words == address
    assert Page(html).text == f"x {address}{after}"
    assert not address.isascii() or href == address


def test_bare_link_within_emphasis_is_a_link() -> None:
    for mark, tag in (("*", "em"), ("**", "strong"), ("~~", "s"), ("***", "em")):
        assert f'<a href="https://b.c/d" {TO}>https://b.c/d</a></{"strong" if mark == "***" else tag}>' in render(
            f"{mark}https://b.c/d{mark} x"
        )
    assert render("**https://b.c/d**请") == f'<p><strong><a href="https://b.c/d" {TO}>https://b.c/d</a></strong>请</p>'


@pytest.mark.parametrize(
    "address",
    [
        "http://good.example@evil.example",
        "http://good.example:80@evil.example/",
        "https://good.example%2F@evil.example",
        "http://user:password@host/path",
        f"http://good.example{'x' * 300}@evil.example",
    ],
)
def test_address_that_hides_its_host_behind_a_name_is_not_a_link(address: str) -> None:
    for markdown in (address, f"<{address}>", f"[good.example]({address})", f"[a]: {address}", f"![a]({address})"):
        html = render(markdown)
        assert "<a" not in html
        assert Page(html).text == markdown


def test_host_before_a_backslash_is_the_host_of_the_link() -> None:
    assert re.findall('href="([^"]*)"', render(r"http://good.example\@evil.example")) == ["http://good.example"]
    hrefs = re.findall('href="([^"]*)"', render(r"[a](http://good.example\\@evil.example)"))
    assert hrefs == ["http://good.example"]


@pytest.mark.parametrize(
    ("host", "puny"),
    [
        ("аррӏе.com", "xn--80ak6aa92e.com"),  # all Cyrillic
        ("раypal.com", "xn--ypal-43d9g.com"),  # Cyrillic and Latin
        ("www.gοοgle.com", "www.xn--ggle-0nda.com"),  # Greek
        ("ɡoogle.com", "xn--oogle-qmc.com"),
        ("xn--80ak6aa92e.com", "xn--80ak6aa92e.com"),
        ("good.example⁄login.b.c", "good.xn--examplelogin-xk0g.b.c"),
    ],
)
def test_host_of_look_alikes_is_shown_in_punycode(host: str, puny: str) -> None:
    if not host.isascii() and "⁄" not in host:
        bare = render(f"https://{host}/ä")
        assert bare == render(f"<https://{host}/ä>")
        assert Page(bare).text == f"https://{puny}/ä"
    html = render(f"[{host}](https://{host}/)")
    assert f'href="https://{puny}/"' in html
    assert Page(html).text == (host if host == puny else f"{host} ({puny})")


@pytest.mark.parametrize(
    "host", ["münchen.de", "пример.рф", "例え.jp", "한국.kr", "ελλάδα.gr", "مثال.com", "b.c", "việtnam.vn"]
)
def test_host_in_one_script_is_shown_as_written(host: str) -> None:
    assert Page(render(f"https://{host}/ [x](https://{host}/)")).text == f"https://{host}/ x"


CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@pytest.mark.parametrize(
    "markdown",
    [
        "`{}`",
        "```\n{}\n```",
        "```python\nx = '{}'\n```",
        "~~~nosuch\n{}\n~~~",
        "    {}",
        "[a{}b](http://b.c)",
        '[a](http://b.c "{}")',
        "[*{}*](http://b.c)",
        "[`{}`](http://b.c)",
        "![{}](http://b.c)",
        "<http://b.c/{}>",
        "[a]\n\n[a]: http://b.c '{}'",
        "|`{}`|\n|-|",
    ],
)
def test_bidirectional_controls_are_visible_in_code_and_links(markdown: str) -> None:
    for control in CONTROLS:
        for written in (control, f"&#{ord(control)};"):
            if (
                written != control
                and "`" not in markdown
                and "~" not in markdown
                and not markdown.startswith(("  ", "<"))
            ):
                assert f"[U+{ord(control):04X}]" in render(markdown.format(written))
        html = render(markdown.format(control))
        assert control not in html
        assert f"[U+{ord(control):04X}]" in html


def test_bidirectional_controls_that_reach_a_link_are_visible() -> None:
    assert Page(render("\u202ehttp://b.c/\u2067x \u202a")).text == "[U+202E]http://b.c/[U+2067]x [U+202A]"
    assert Page(render("x\u202e `a`")).text == "x[U+202E] a"


def test_bidirectional_controls_in_prose_are_kept() -> None:
    for text in ("שלום\u200f!", "a \u2068b\u2069 c", "\u200fא http://b.c", "\u061cx `y`"):
        assert Page(render(text)).text == text.replace("`", "")


# --- code ---------------------------------------------------------------------------------------------------------


def test_code_is_highlighted() -> None:
    assert render("```python\nif x:\n    'a'\n```") == (
        '<pre><code class="language-python">'
        '<span class="k">if</span> <span class="n">x</span><span class="p">:</span>\n'
        "    <span class=\"s1\">'a'</span>\n</code></pre>"
    )


@pytest.mark.parametrize(
    ("info", "attribute"),
    [
        ("", ""),
        ("nosuch", ' class="language-nosuch"'),
        ("nosuch-1.0 title=x", ' class="language-nosuch-1.0"'),
        ("no<b>", ' class="language-no"'),
        ('no" onclick="alert(1)', ' class="language-no"'),
        ("{.nosuch}", ' class="language-nosuch"'),
        ("&nbsp;", ""),
        ('"><script>', ' class="language-script"'),
        ("日本", ""),
    ],
)
def test_code_in_an_unknown_language_is_not_highlighted(info: str, attribute: str) -> None:
    assert render(f"~~~{info}\na < b\n~~~") == f"<pre><code{attribute}>a &lt; b\n</code></pre>"


@pytest.mark.parametrize(
    "language", ["c++", "C#", "objective-c", "F#", "html", "HTML", "json", "console", "diff", "text"]
)
def test_highlighting_keeps_all_code(language: str) -> None:
    code = "\n\n  <a b='c'>&amp;\t{ /* x */ }\n\n# y\x0c\n\n+ z\n"
    html = render(f"```{language}\n{code}```")
    assert f'class="language-{language}"' in html
    assert ("<span" in html) == (language != "text")
    assert Page(html).text == code


def test_very_long_code_is_not_highlighted() -> None:
    code = "x = 1\n" * (highlighting.MAX_CHARS // 6 + 1)
    assert render(f"```python\n{code}```") == f'<pre><code class="language-python">{code}</code></pre>'


def test_faulty_lexer_leaves_code_unhighlighted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lexer:
        def __init__(self, tokens: list[tuple[object, str]]) -> None:
            self.get_tokens = lambda code: tokens or 1 / 0

    for tokens in ([], [(None, "x ="), (None, "1\n")]):
        monkeypatch.setattr(highlighting, "get_lexer_by_name", lambda *_, tokens=tokens, **__: Lexer(tokens))
        assert render("```python\nx = 1\n```") == '<pre><code class="language-python">x = 1\n</code></pre>'


def test_unclosed_code_block_is_rendered() -> None:
    assert Page(render("```python\nx = 1")).text.rstrip() == "x = 1"


# --- formulas -----------------------------------------------------------------------------------------------------


def formulas(html: str) -> list[str]:
    """The sources of the formulas that are shown as MathML."""
    pattern = r'<annotation encoding="application/x-tex">([^<]*)</annotation></semantics></math>'
    return [unescape(source) for source in re.findall(pattern, html)]


FORMULAS = [
    r"e^{i\pi} + 1 = 0",
    r"\{1, 2\}",
    r"x",
    r"AB",
    r"a_1 * b_2 * c_{*}",
    r"a < b > c",
    r"\frac{1}{2} \sqrt[3]{x} \binom{n}{k}",
    r"\begin{cases} x & y_1 \\ z & *w* \end{cases}",
    r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
    r"\begin{split} a &= b \\ c &= d \end{split}",
    r"\begin{gathered} a \\ b \end{gathered}",
    r"\begin{align} a &= b \\ c &= d \end{align}",
    r"\begin{alignedat}{2} a &= b \\ c &= d \end{alignedat}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"\begin{dcases} x & y \end{dcases} + \begin{rcases} x & y \end{rcases}",
    r"\begin{eqnarray} a &=& b \end{eqnarray}",
    r"\begin{equation} a = b \end{equation}",
    r"\left( \sum_{i=1}^n x_i \right)' \text{ for } n \to \infty",
    r"\text{<b>&amp;</b>}",
    r"5\% \$ \_",
    r"日本 = x",
]


@pytest.mark.parametrize("source", FORMULAS)
@pytest.mark.parametrize(
    ("markdown", "display"),
    [
        (r"x \({}\) y", "inline"),
        (r"x\({}\)", "inline"),
        ("**${}$**", "inline"),
        (r"- # \({}\)", "inline"),
        (r"x \[{}\] y", "block"),
        ("$${}$$", "block"),
        ("x\n\\[\n{}\n\\]\ny", "block"),
        ("> - $$\n>   {}\n>   $$", "block"),
    ],
)
def test_formula_is_mathml_with_its_source(markdown: str, display: str, source: str) -> None:
    html = render(markdown.replace("{}", source))
    assert [formula.strip() for formula in formulas(html)] == [source]
    assert f'<math display="{display}">' in html
    assert all("<p>" not in part for part in html.split("<math")[1:] if "</math>" not in part)
    Page(html)


@pytest.mark.parametrize(
    "lines", [r"a \\" + "\n= b", "a\n=\nb", "a\n\n- b\n# c", "    a\n\n    b", "a\n---\n* * *\n> b"]
)
@pytest.mark.parametrize(("begin", "end"), [("\\[", "\\]"), ("$$", "$$")])
def test_formula_over_lines_survives_whole(lines: str, begin: str, end: str) -> None:
    html = render(f"before:\n{begin}\n{lines}\n{end}\nafter")
    assert formulas(html) == [f"\n{lines}\n"]
    assert html.startswith("<p>before:</p>\n<p>")
    assert html.endswith("</p>\n<p>after</p>")
    assert not re.search("<(ul|ol|h[1-6]|hr|pre|blockquote)", html)


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $6",
        "$5 and 6$",
        "It costs $5, or US$6.",
        "from $5 to $10-$20",
        "5$ or 6$",
        "pay $5 (or 5$)",
        "$10/month and $20/month",
        "$10+$20=$30",
        "$ x $",
        "$x $",
        "$HOME and $PATH",
        "$HOME/$USER",
        "a$b$c",
        "$5M (about 4M) and 6M$",
        "$ echo 1 && echo 2 $",
        "$",
        "$$",
        "$$$$",
        "x $ y",
        "$x\n$",
    ],
)
def test_dollars_that_are_no_formula_stay_text(text: str) -> None:
    html = render(text)
    assert "<math" not in html
    assert Page(html).text == text


def test_escaped_brackets_around_words_are_brackets() -> None:
    assert Page(render(r"\[not a link\] and \(some words\)")).text == "[not a link] and (some words)"
    assert Page(render(r"\[a\](http://b.c)")).text == "[a](http://b.c)"
    assert Page(render(r"\\(x\\) \(x")).text == r"\(x\) (x"
    assert Page(render(r"\$x$ $x\$")).text == "$x$ $x$"


@pytest.mark.parametrize("code", ["`{}`", "``{}``", "```\n{}\n```", "    {}", "~~~latex\n{}\n~~~"])
@pytest.mark.parametrize("formula", [r"\(x\)", r"\[x\]", "$x$", "$$x$$"])
def test_formula_in_code_is_code(code: str, formula: str) -> None:
    html = render(code.replace("{}", formula))
    assert "<math" not in html
    assert Page(html).text.strip() == formula


UNREADABLE = [
    r"\frac{1}",
    r"\frac",
    r"x_",
    r"{x",
    r"x}_y",
    r"a & b",
    r"\begin{nosuch} a & b \end{nosuch}",
    r"\begin{matrix} a",
    r"\nosuchcommand x",
    r"\left( x",
    r"\def\a{b}\a",
    r"\newcommand{\a}{\b\b}\newcommand{\b}{xx}\a",
    r"\href{javascript:alert(1)}{x}",
    r"\style{color:red}{x}",
    r"\class{a}{x}",
    r"\unicode{x}",
    "{" * 500 + "x" + "}" * 500,
    r"\sqrt" * 500 + "x",
    "x^" * 300 + "x",
    "x+" * 5_000 + "x",
    "x = \u202ey",
]


@pytest.mark.parametrize("source", UNREADABLE)
@pytest.mark.parametrize(("begin", "end"), [(r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$")])
def test_formula_that_cannot_be_read_is_shown_as_its_source(begin: str, end: str, source: str) -> None:
    html = render(f"{begin}{source}{end}")
    assert "<math" not in html
    assert Page(html).text == f"{begin}{source}{end}".replace("\u202e", "[U+202E]")


def test_formulas_cannot_cover_the_page_or_be_coloured() -> None:
    html = render(r"\(\kern-300em x \hspace{99em} \raise 500pt y \color{white} z \colorbox{red}{a}\)")
    assert not re.search(r"300|99em|500|white|red", re.sub("<annotation.*?</annotation>|>[^<]*<", "", html))
    Page(html)


def test_very_many_formulas_are_shown_in_part() -> None:
    html = render(r"\(x_1\) " * 20_000)
    assert 1_000 < html.count("<math") < 20_000
    assert html.count("x_1") == 20_000


# --- emphasis without spaces, task lists, footnotes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("**重要：**请注意", "<strong>重要：</strong>请注意"),
        ("含**「重点」**内容", "含<strong>「重点」</strong>内容"),
        ("これは**太字。**です", "これは<strong>太字。</strong>です"),
        ("**한국어(괄호)**는 굵게", "<strong>한국어(괄호)</strong>는 굵게"),
        ("~~删除（括号）。~~这个", "<s>删除（括号）。</s>这个"),
        ("*重要：*请*「注」*意", "<em>重要：</em>请<em>「注」</em>意"),
        ("***重要：***请", "<em><strong>重要：</strong></em>请"),
        ("请看**“重点”**内容", "请看<strong>“重点”</strong>内容"),
        ("版本**v1.0!**发布", "版本<strong>v1.0!</strong>发布"),
        ("**`code`**を使う", "<strong><code>code</code></strong>を使う"),
        ("这是**（一）**和**《二》**的", "这是<strong>（一）</strong>和<strong>《二》</strong>的"),
        ("**ﾃｽﾄ｡**です", "<strong>ﾃｽﾄ｡</strong>です"),
        ("**葛\U000e0100(x)**市", "<strong>葛\U000e0100(x)</strong>市"),
        ("葛\U000e0100**(x)**市", "葛\U000e0100<strong>(x)</strong>市"),
        # As CommonMark has it.
        ("a**b.**c", "a**b.**c"),
        ("5 * 3 * 2 ** 4 **", "5 * 3 * 2 ** 4 **"),
        ("重要 ** 请 **", "重要 ** 请 **"),
        ("snake_case_name", "snake_case_name"),
        ("**a** *b* ~~c~~", "<strong>a</strong> <em>b</em> <s>c</s>"),
        ("a**🎉!**b", "a**🎉!**b"),
    ],
)
def test_emphasis_needs_no_spaces_where_none_are_written(markdown: str, html: str) -> None:
    assert render(markdown) == f"<p>{html}</p>"


def test_task_list_has_checkboxes_that_cannot_be_clicked() -> None:
    box = '<input type="checkbox" disabled="" {}aria-label="{}">'
    done, open_ = box.format('checked="" ', "done"), box.format("", "not done")
    assert render("- [x] a\n- [ ] *b*\n- [X]\n- [y] c\n- [x]d\n- e [x] f") == (
        f"<ul>\n<li>{done} a</li>\n<li>{open_} <em>b</em></li>\n<li>{done}</li>\n"
        "<li>[y] c</li>\n<li>[x]d</li>\n<li>e [x] f</li>\n</ul>"
    )
    assert render("1. [x] a\n\n   b") == f"<ol>\n<li>\n<p>{done} a</p>\n<p>b</p>\n</li>\n</ol>"
    for text in ("[x] a", "- `[x]` a", "- \\[x] a", "- # [x] a", "> [x] a"):
        assert "<input" not in render(text)


def test_footnotes_are_numbered_and_listed_at_the_end() -> None:
    html = render("a[^one] b[^2] c[^one] d[^no]\n\n[^2]: two\n[^one]: one *x*\n\n    more\n\nlast")
    assert html == (
        "<p>a<sup>[1]</sup> b<sup>[2]</sup> c<sup>[1]</sup> d[^no]</p>\n<p>last</p>\n<hr>\n<ol>\n<li>\n"
        "<p>one <em>x</em></p>\n<p>more</p>\n</li>\n<li>\n<p>two</p>\n</li>\n</ol>"
    )
    assert " id=" not in html
    assert render("a[^1]\n\n[^1]: https://b.c").endswith(
        f'<li>\n<p><a href="https://b.c" {TO}>https://b.c</a></p>\n</li>\n</ol>'
    )


def test_footnotes_that_nobody_mentions_are_kept() -> None:
    assert render("[^a]: b *c*\n[^d]:\n") == "<p>[^a]: b <em>c</em></p>\n<p>[^d]: </p>"
    assert render("x[^a]\n\n[^a]: b\n[^a]: c") == (
        "<p>x<sup>[1]</sup></p>\n<p>[^a]: c</p>\n<hr>\n<ol>\n<li>\n<p>b</p>\n</li>\n</ol>"
    )
    assert "<h2>b</h2>" in render("[^a]: # b")


# --- no word is lost ----------------------------------------------------------------------------------------------


def test_cells_beyond_the_header_are_kept() -> None:
    page = Page(render("> |a|b|\n> |-|-|\n> |1|2|3|\n> |`x|y`|\n> ||4|5||\n> |6|"))
    assert page.text.split() == ["a", "b", "1", "2", "|", "3", "`x", "y`", "4", "|", "5", "|", "6"]


def test_unused_link_definitions_are_kept() -> None:
    link = f'<a href="http://b.c" {TO}>'
    assert render('[a]: http://b.c "d"\n[e]') == f'<p>[a]: {link}http://b.c</a> "d"</p>\n<p>[e]</p>'
    assert (
        render("[a]: http://b.c\n[a]: http://b.c\n\n[x][A]") == f"<p>[a]: {link}http://b.c</a></p>\n<p>{link}x</a></p>"
    )
    assert render("![x][a]\n\n- [a]: http://b.c") == f"<p>{link}x</a></p>\n<ul>\n<li></li>\n</ul>"


@pytest.mark.parametrize("depth", [5, 18, 19, 20, 38, 39, 40, 100, 3_000])
@pytest.mark.parametrize("nest", ["> ", "- + ", ">- "])
def test_deep_nesting_loses_no_text(nest: str, depth: int) -> None:
    html = render(f"before\n\n{nest * depth}<deep>\n\nafter")
    assert all(word in Page(html).text for word in ("before", "<deep>", "after"))
    if depth == 5:
        assert "<blockquote>" in html or "<ul>" in html


def test_nested_lists_are_rendered() -> None:
    html = render("".join(f"{'  ' * depth}- level {depth}\n" for depth in range(15)))
    assert html.count("<ul>") == 15


def test_too_deep_nesting_is_shown_as_written() -> None:
    markdown = "  # a <b>\n" + "> " * 200 + "c"
    assert render(markdown) == "<p># a &lt;b&gt;<br>\n" + "&gt; " * 200 + "c</p>"


def test_3000_nested_brackets_are_rendered() -> None:
    for markdown in ("[" * 3_000 + "word" + "](http://b.c)" * 3_000, "![" * 3_000 + "word" + "](http://b.c)" * 3_000):
        assert "word" in Page(render(markdown)).text


# --- whatever is written ------------------------------------------------------------------------------------------

HTML = ["<script>", "</p>", "<img src=x onerror=a>", "<a href=x>", "<!--", "-->", "<![CDATA[", "<?", "class=x", "id=x"]
ENTITIES = ["&lt;", "&#0;", "&#x3c;", "&", "&nbsp;", "\\", '"', "'"]
LINKS = [
    "javascript:",
    "data:",
    "http://a.b",
    "https://a.b/?<\">'",
    "mailto:a@b.c",
    "ftp://a",
    "<http://a.b>",
    "<a@b.c>",
    "://",
]
BRACKETS = ["[", "]", "](", ")", "![", "[x]", "[x]: ", "()"]
BLOCKS = ["# ", "###### ", "> ", "- ", "1. ", "999999999. ", "    ", "\t", "\n", "\n\n", "\n---\n", "\n===\n"]
CODE = ["`", "``", "```", "~~~", "```html\n", '```"x\n']
MATHS = [r"\(", r"\)", r"\[", r"\]", "$", "$$", "$x$", r"\frac{1}{", "_", "^", "}", "&", r"\begin{cases}", "%"]
NOTES = ["[^1]", "\n[^1]: ", "[^2]", "\n\n[^2]: ", "- [x] ", "- [ ] ", "\u202e", "\u200f", "http://аррӏе.com/"]
CJK = ["重", "：", "（", "）", "。", "“", "は", "가", "\ufe00", "\U000e0100"]
STYLES = ["*", "**", "_", "~~", "|", "|\n", "|a|b|\n|-|:-:|\n"]
CHARACTERS = ["\x0c", "\x0b", "\xa0", "\u2028", "\ufeff", "\r", "é", "😀"]
PIECES = st.one_of(
    map(st.sampled_from, (HTML, ENTITIES, LINKS, BRACKETS, BLOCKS, CODE, MATHS, NOTES, CJK, STYLES, CHARACTERS))
)
ANYTHING = st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=40).map("".join)


@given(ANYTHING)
@example('<a href="http://a.b" onclick="x">')
@example("[a](http://a.b/\"onclick='x')")
@example("<svg><style><img src=x onerror=alert(1)></style>")
def test_hostile_text_renders_safely(markdown: str) -> None:
    html = render(markdown.encode(errors="replace").decode())
    assert not html.endswith("\n")
    page = Page(html)
    assert all(below <= above + 1 for above, below in zip([1, *page.levels], page.levels, strict=False))


PLAIN = st.text(st.characters(categories=["L", "N", "So", "Sc"], include_characters=".,;?(){}%$/=' "), min_size=1)


@given(st.lists(PLAIN.map(lambda text: f"x{text}"), min_size=1))
def test_plain_paragraphs_keep_every_character(paragraphs: list[str]) -> None:
    markdown = "\n\n".join(paragraphs)
    html = render(markdown)
    assert "".join(Page(html).text.split()) == "".join(markdown.split())
    assert html.count("<p>") == len(paragraphs)


BETWEEN_WORDS = ["*", "**", "_", "~~", "`", "``", "\\", "<", ">", "<b>", " ", "  ", "\n", "http://a.b/", "<http://a.b/"]
BETWEEN_BLOCKS = ["\n", "\n\n", "\n---\n", "\n===\n", "# ", "> ", "- ", "+ ", "1. ", "    "]
IN_TABLES = ["|", "|\n", "\n|-|-|\n"]
IN_LINKS = ["[", "]", "](http://a.b)", "](http://a.b '", "')", "](", ")", "![", "!", "[ref]"]
IN_FORMULAS = [r"\(", r"\)", r"\[", r"\]", "$", "$$", "\n$$\n", "\n\\[\n", "\n\\]\n", "^", "&", "{", "}", r"\frac"]
IN_NOTES = ["[^1]", "\n[^1]: ", "[^2]", "\n[^2]: ", "\n- [x] ", "[ ]"]
DEFINITIONS = ["\n[ref]: http://a.b\n", "\n[ref]: http://a.b '", "]: http://a.b\n"]
KINDS = (BETWEEN_WORDS, BETWEEN_BLOCKS, IN_TABLES, IN_LINKS, IN_FORMULAS, IN_NOTES, DEFINITIONS)
MARKUP = st.one_of(map(st.sampled_from, KINDS))


@given(st.lists(MARKUP, max_size=60))
@example(["|", "|", "|", "\n|-|-|\n", "|", "|", "|", "|", "|\n"])
@example(["> "] * 60)
@example(["[", "![", "](http://a.b '", "')", "](http://a.b)"])
def test_no_word_is_lost(markup: list[str]) -> None:
    """Words with any markup between them, except words that are not shown, such as the second word of a code fence."""
    words = [f"word{number}x" for number in range(len(markup))]
    markdown = "".join(f"{mark}{word}" for mark, word in zip(markup, words, strict=True))
    if "```" in markdown or "~~~" in markdown:
        return
    page = Page(render(markdown))
    assert [word for word in words if word not in page.text + page.values] == []


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.serial
def test_ordinary_text_of_30_sections_is_rendered_within_a_second() -> None:
    """In processor time, far below the limit for hostile texts."""
    markdown = (
        "## A\n\nSome *text* with `code` and [a link](https://b.c).\n\n- one\n- two\n\n```python\nx = 1\n```\n\n" * 30
    )
    render(markdown)
    began = time.process_time()
    render(markdown)
    assert time.process_time() - began < 1
