"""Emphasis in Chinese, Japanese and Korean, which are written without spaces.

CommonMark takes `**` behind a punctuation mark for the end of strong text only if no letter follows, so in
`**重要：**请注意` nothing is strong. The "CommonMark CJK-friendly Amendments Specification" mends that: punctuation of
these languages is like a letter, and so is other punctuation beside their characters.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType


class CjkParserInline(ParserInline):
    """A parser with the rules of another one."""

    def __init__(self, other: ParserInline) -> None:
        super().__init__()
        self.ruler, self.ruler2 = other.ruler, other.ruler2

    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803
        text, marker = self.src, self.src[start]
        end = start
        while end < self.posMax and text[end] == marker:
            end += 1
        # The beginning and the end of a line count as white space.
        before = text[start - 1] if start > 0 else " "
        if start > 1 and "\ufe00" <= before <= "\ufe0e":  # the character before decides, in whichever form
            before = text[start - 2]
        after = text[end] if end < self.posMax else " "

        space_before, space_after = isWhiteSpace(ord(before)), isWhiteSpace(ord(after))
        mark_before, mark_after = _is_punctuation(before), _is_punctuation(after)
        cjk_before, cjk_after = _is_cjk(before), _is_cjk(after)
        left = not space_after and (
            not mark_after or cjk_after or space_before or mark_before or cjk_before or _is_variation(before)
        )
        right = not space_before and (not mark_before or cjk_before or space_after or mark_after or cjk_after)
        return Scanned(
            left and (canSplitWord or not right or mark_before),
            right and (canSplitWord or not left or mark_after),
            end - start,
        )


def _is_punctuation(character: str) -> bool:
    return isMdAsciiPunct(ord(character)) or isPunctChar(character)


@lru_cache(4096)
def _is_cjk(character: str) -> bool:
    """Whether a character is wide, or narrow in place of a wide one, and no emoji; or Hangul."""
    code = ord(character)
    if 0x1160 <= code <= 0x11FF:
        return True
    emoji = (0x2300 <= code <= 0x2BFF and code not in (0x2329, 0x232A)) or 0x1F000 <= code <= 0x1FBFF
    return unicodedata.east_asian_width(character) in "WFH" and not emoji


def _is_variation(character: str) -> bool:
    """Whether a character says in which form the ideograph before it is written."""
    return "\U000e0100" <= character <= "\U000e01ef"
