"""Folding: texts that readers take for the same, but for case, become the same.

It follows Unicode: NFKC (which also evens out width and ligatures), without characters that are not seen, in lower
case, with one sigma and `ss` for `ß`. Search, the filter of titles and snippets all use it, in Python (`fold`) and in
PostgreSQL (`chat_fold`); a test holds the two together.
"""

from __future__ import annotations

import re
import unicodedata

# Ranges for the brackets of a regular expression, which Python and PostgreSQL read alike.
INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's default ignorable code points: soft hyphen, zero-width characters, variation selectors …"""
_LEFT_OUT = INVISIBLE + r"\u0640"  # the tatweel lengthens an Arabic word
# Letters whose lower case is not yet the same for all their forms: the final sigma, and variants of Cyrillic letters.
_VARIANTS = "ς\u1c80\u1c81\u1c82\u1c83\u1c84\u1c85\u1c86\u1c87\u1c88"
_LETTERS = "σвдосттъѣꙋ"
# Greek letters with an iota below them: in capitals it is a letter of its own.
_IOTA_BELOW = r"\u0345\u1f80-\u1faf\u1fb2-\u1fb4\u1fb7\u1fbc\u1fc2-\u1fc4\u1fc7\u1fcc\u1ff2-\u1ff4\u1ff7\u1ffc"

_invisible = re.compile(f"[{_LEFT_OUT}]+")
_letters = str.maketrans(_VARIANTS, _LETTERS) | {ord("ß"): "ss"}
_dotted = re.compile("i\u0307+")  # the lower case of the Turkish İ
_iota_below = re.compile(f"[{_IOTA_BELOW}]")


def fold(text: str) -> str:
    """The form of a text in which it is compared."""
    if text.isascii():
        return text.lower()
    folded = _invisible.sub("", unicodedata.normalize("NFKC", text)).lower().translate(_letters)
    folded = _dotted.sub("i", folded)
    if _iota_below.search(folded):
        folded = unicodedata.normalize("NFD", folded).replace("\u0345", "ι")
    return unicodedata.normalize("NFKC", folded)


# The function calls nothing of ours: a restored dump computes titles before our schema is in the search path. The lower
# case must not depend on the locale of the database, so it is that of a collation which knows all letters. PostgreSQL
# has one built in from version 17 on, and ICU's before.
FOLD = rf"""
DO $do$
DECLARE
    letters text := coalesce(
        (SELECT 'pg_catalog.' || quote_ident(collname) FROM pg_catalog.pg_collation
         WHERE collname IN ('pg_c_utf8', 'und-x-icu') AND collnamespace = 'pg_catalog'::regnamespace
         ORDER BY collname LIMIT 1),
        'pg_catalog."default"');
BEGIN
    EXECUTE replace($create$
CREATE FUNCTION chat_fold(content text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    folded text;
BEGIN
    IF octet_length(content) = length(content) THEN
        RETURN lower(content COLLATE "C");
    END IF;
    folded := lower(regexp_replace(normalize(content, NFKC), '[{_LEFT_OUT}]+', '', 'g') COLLATE COLLATION_OF_LETTERS);
    folded := replace(translate(folded, '{_VARIANTS}', '{_LETTERS}'), 'ß', 'ss');
    folded := regexp_replace(folded, 'i\u0307+', 'i', 'g');
    IF folded ~ '[{_IOTA_BELOW}]' THEN
        folded := replace(normalize(folded, NFD), U&'\0345', 'ι');
    END IF;
    RETURN normalize(folded, NFKC);
END
$$
$create$, 'COLLATION_OF_LETTERS', letters);
END
$do$
"""  # noqa: S608 (the ranges are constants)
"""The statement that creates `chat_fold`; to be run before the tables are created."""
