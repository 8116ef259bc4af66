"""Nothing of a token reaches the log, in whatever form it stands in a text.

But for one that is cut off so early that the rest is secret enough, and may be a name.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from hypothesis import assume, given
from hypothesis import strategies as st

from chatserver import credentials, logs

# At least 27 characters, which are 160 bits, are missing of what is shorter.
LEAST_PIECE = 16


def percent(character: str, times: int) -> str:
    """A character percent-encoded so often."""
    return character if not times else "%" + "25" * (times - 1) + f"{ord(character):02X}"


@given(st.data())
def test_nothing_of_a_token_is_left_however_it_is_cut_encoded_and_embedded(data: st.DataObject) -> None:
    token = credentials.new_token()
    prefix = len(credentials.TOKEN_PREFIX)
    cut = token[: data.draw(st.integers(prefix + LEAST_PIECE, len(token)))]
    assume(re.search("[A-Z0-9]", cut[prefix:]))
    form = data.draw(st.sampled_from(["plain", "percent", "json", "repr"]))
    if form == "percent":
        written = "".join(percent(each, data.draw(st.sampled_from([0, 0, 1, 2]))) for each in cut)
    else:
        written = cut.replace("_", {"plain": "_", "json": "\\u005f", "repr": "\\x5f"}[form])
    before = data.draw(st.sampled_from(["", "Bearer ", "/api/", "x=", "'", "https://a.example/?t=", "\n", "\u2026"]))
    after = data.draw(st.sampled_from(["", " end", "'", "\n", "&b=1", "#", '"}', "/next"]))
    scrubbed = logs.scrub(before + written + after)
    assert scrubbed.startswith(before.rstrip("=")) or "=" in before
    secret = token[prefix:]
    readable = unquote(unquote(scrubbed)).replace("\\u005f", "_").replace("\\x5f", "_")
    assert not any(secret[at : at + 4] in readable for at in range(len(secret) - 3))
