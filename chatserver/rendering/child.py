"""The child process that renders Markdown for the server: run as a program, never imported by the server.

Nearly all of rendering is Python, and a hostile text can keep it busy for half a minute; here it blocks nobody else.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Sequence

from chatserver.children import NOTE, confine
from chatserver.rendering.markdown import render_blocks_or_tell, render_or_tell, warm_up

# The address space that the process may use, Python itself included.
_MEMORY_BYTES = 2**29


def main(arguments: Sequence[str]) -> None:
    """Render for the parent, whose process id is the only argument, until standard input ends.

    The first line of output is `"ready"`. After that, each line of input, `[number, text, headings]` in JSON, is
    answered by one line of output, `[number, result]`: the HTML of the text if `headings` is null, else its blocks, as
    JSON in a string, below headings of these levels. The result is null if there is none. Both are UTF-8. Notes for the
    log go to standard error.
    """
    confine(int(arguments[0]))
    os.nice(5)  # the server goes first
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    warm_up()
    _say("ready")
    for line in sys.stdin.buffer:
        number, text, headings = json.loads(line)
        result: str | None = None
        try:
            result, problem = render_or_tell(text) if headings is None else render_blocks_or_tell(text, headings)
        except Exception as error:  # MemoryError above all
            problem = type(error).__name__
        if problem is not None:
            print(f"{NOTE}a text of {len(text)} characters: {problem}", file=sys.stderr, flush=True)
        _say([number, result])


def _say(word: object) -> None:
    sys.stdout.buffer.write(json.dumps(word, ensure_ascii=False).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
