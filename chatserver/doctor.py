"""`chatserver doctor URL`: checks that a running server, and the proxies before it, let streams through.

It looks from outside, as a browser does: only there a proxy that buffers, compresses or cuts is seen. It creates an
echo agent and a conversation, and removes both.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO
from urllib.parse import urlsplit

from chatserver import logs
from chatserver.errors import ConfigurationError

# On a healthy server everything but a ping is quicker.
ANSWER_SECONDS = 30
# Twice the default of `ping_seconds`.
PING_SECONDS = 30
MAX_BODY_BYTES = 1 << 20

# At the echo's pace of 5 ms a piece: an answer of about 0.6 s, and one that lasts longer than the wait for a ping.
SHORT_TEXT = " ".join(f"piece{number:02d}" for number in range(60))
LONG_TEXT = "a " * 4_000
# Pieces that come closer together count as one arrival. A proxy that holds back 4 KiB makes three arrivals of the
# short answer; a network that joins what comes within 50 ms still makes twelve.
APART_SECONDS = 0.002
FEWEST_ARRIVALS = 6

_LOG = "see the server's log"
_ADVICE = {
    401: "make a manager's token, put it into a variable, and name that with --token-env",
    403: "name the host of this URL in allowed_hosts; if it is the role, use a manager's token",
    404: "see whether the URL is chatserver's, and whether a proxy hands on all paths",
    429: "wait a minute, or raise requests_per_minute",
    502: "the proxy does not reach chatserver",
    503: "see whether it is draining, out of streams, or without its database",
    504: "the proxy does not reach chatserver",
}


class CheckError(Exception):
    """A fault, and what the operator can do about it."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.advice = advice


def examine(url: str, output: TextIO, token: str | None = None) -> bool:
    """Check the server at `url`; whether all is well. Each check writes a line to `output`.

    `token`: a manager's, for a server that asks for one. This takes about as long as the server's `ping_seconds`.
    Raises ConfigurationError for a malformed URL.
    """
    return _Examination(_Site.parse(url, token), output).run()


# --- talking to it -----------------------------------------------------------------------------------------


class _Site(NamedTuple):
    secure: bool
    host: str
    port: int | None
    prefix: str
    token: str | None

    @classmethod
    def parse(cls, url: str, token: str | None) -> _Site:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError("the URL is not valid") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise ConfigurationError("the URL should begin with http:// or https:// and name a host")
        return cls(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"), token)

    @contextlib.contextmanager
    def ask(
        self, method: str, path: str, body: object = None, *, timeout_seconds: float = ANSWER_SECONDS
    ) -> Iterator[http.client.HTTPResponse]:
        """Make a request on a connection of its own. The caller reads the response's body, or leaves it unread.

        `timeout_seconds` bounds each wait. Raises CheckError for a failure below HTTP.
        """
        headers = {"Accept-Encoding": "gzip, br"}  # a proxy that compresses for browsers then compresses here, too
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        with contextlib.closing(kind(self.host, self.port, timeout=timeout_seconds)) as connection:
            try:
                connection.request(method, self.prefix + path, data, headers)
                with connection.getresponse() as response:
                    yield response
            except ssl.SSLError as error:
                raise CheckError(
                    f"TLS fails: {error.reason or error}", "see to the certificate and its chain"
                ) from None
            except TimeoutError:
                raise CheckError(f"nothing came for {timeout_seconds:g} s", _LOG) from None
            except (OSError, http.client.HTTPException) as error:
                raise CheckError(f"the connection fails: {str(error) or type(error).__name__}", _LOG) from None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the response to a request; None: it has no body. Raises CheckError for a refusal."""
        with self.ask(method, path, body) as response:
            text = response.read(MAX_BODY_BYTES)
            _refuse_failure(response, text, f"{method} {path}")
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise CheckError(f"{method} {path} is not answered in JSON", _ADVICE[404]) from None


def _refuse_failure(response: http.client.HTTPResponse, text: bytes, what: str) -> None:
    status = response.status
    if 300 <= status < 400:
        raise CheckError(f"{what} is redirected to {response.getheader('Location')}", "give the URL that it leads to")
    if status >= 300:
        try:
            reason = json.loads(text)["error"]
        except (ValueError, TypeError, KeyError):
            reason = response.reason
        raise CheckError(f"{what} is answered {status} {reason}", _ADVICE.get(status, _LOG))


class _Block(NamedTuple):
    """The text between two empty lines of a stream, and the time at which it came (in seconds, monotonic)."""

    arrived: float
    text: str

    @property
    def event(self) -> dict[str, Any] | None:
        data = [line[5:].strip() for line in self.text.split("\n") if line.startswith("data:")]
        try:
            event = json.loads(data[0]) if data else None
        except ValueError:
            event = None
        return event if isinstance(event, dict) else None


def _blocks(response: http.client.HTTPResponse) -> Iterator[_Block]:
    """The blocks of an event stream as they arrive, until it ends. Raises CheckError if it is not an event stream."""
    if response.status != 200:
        _refuse_failure(response, response.read(MAX_BODY_BYTES), "the stream")
    if encoding := response.getheader("Content-Encoding"):
        raise CheckError(f"the stream comes compressed ({encoding})", "turn compression off for text/event-stream")
    kind = response.getheader("Content-Type", "")
    if not kind.startswith("text/event-stream"):
        raise CheckError(f"the stream's Content-Type is {kind!r}", "let the proxy hand it on as it is")
    if "no-transform" not in response.getheader("Cache-Control", ""):
        raise CheckError("the stream's Cache-Control lacks no-transform", "let the proxy hand it on as it is")
    if response.getheader("X-Accel-Buffering", "no") != "no":  # nginx removes the header, which is fine
        raise CheckError("the stream's X-Accel-Buffering is not no", "let the proxy hand it on as it is")
    rest = b""
    while piece := response.read1(65_536):
        arrived = time.monotonic()
        *whole, rest = (rest + piece).split(b"\n\n")
        yield from (_Block(arrived, block.decode(errors="replace")) for block in whole)


# --- the checks --------------------------------------------------------------------------------------------


class _Examination:
    def __init__(self, site: _Site, output: TextIO) -> None:
        self._site = site
        self._output = output
        self._well = True
        self._company = ""
        self._agent: str | None = None
        self._conversation: str | None = None

    def run(self) -> bool:
        self._check("healthz", self._alive)
        self._check("readyz", self._ready)
        try:
            if self._check("session", self._session) and self._check("conversation", self._prepare):
                self._check("stream", self._streams)
                self._check("pings", self._pings)
        finally:
            if self._agent is not None:
                self._check("clean-up", self._clean_up)
        return self._well

    def _check(self, name: str, check: Callable[[], str]) -> bool:
        try:
            detail = check()
        except CheckError as trouble:
            self._well = False
            self._say(f"FAIL  {name}: {trouble}")
            self._say(f"      {trouble.advice}")
            return False
        self._say(f"ok    {name}: {detail}")
        return True

    def _say(self, line: str) -> None:
        print(logs.printable(line), file=self._output, flush=True)

    def _alive(self) -> str:
        with self._site.ask("GET", "/healthz") as response:
            _refuse_failure(response, response.read(MAX_BODY_BYTES), "GET /healthz")
        return "the process lives"

    def _ready(self) -> str:
        with self._site.ask("GET", "/readyz") as response:
            text = response.read(MAX_BODY_BYTES)
            if response.status in (401, 403, 404):  # it is for the operator's own tools; a proxy may hide it, too
                return "not shown from here"
            _refuse_failure(response, text, "GET /readyz")
        return "it takes traffic"

    def _session(self) -> str:
        session = self._site.call("GET", "/api/session")
        try:
            mode, companies = session["mode"], session["companies"]
            self._company = f"/api/companies/{companies[0]['id']}"
        except IndexError:
            raise CheckError("no company is shown", _ADVICE[401]) from None
        except (TypeError, KeyError):
            raise CheckError("the answer is not chatserver's", _ADVICE[404]) from None
        return f"{mode}, company {companies[0]['id']}"

    def _prepare(self) -> str:
        agent = self._site.call("POST", f"{self._company}/agents", {"name": "doctor", "adapterType": "echo"})
        self._agent = f"/api/agents/{agent['id']}"
        wanted = {"title": "chatserver doctor", "agentId": agent["id"]}
        conversation = self._site.call("POST", f"{self._company}/conversations", wanted)
        self._conversation = f"/api/conversations/{conversation['id']}"
        return "created"

    def _ask_echo(self, content: str) -> str:
        """Add a user message; the path of its stream."""
        message = self._site.call("POST", f"{self._conversation}/messages", {"role": "user", "content": content})
        return f"{self._conversation}/stream?triggerMessageId={message['id']}"

    def _streams(self) -> str:
        arrivals: list[float] = []
        answer = ""
        with self._site.ask("GET", self._ask_echo(SHORT_TEXT)) as response:
            blocks = _blocks(response)
            first = next(blocks, None)
            if first is None or first.text != ":ok":
                raise CheckError("the stream does not begin with :ok", "let the proxy hand it on as it is")
            end: dict[str, Any] = {}
            for block in blocks:
                event = block.event or {}
                if event.get("type") == "token":
                    answer += str(event.get("content"))
                    if not arrivals or block.arrived - arrivals[-1] > APART_SECONDS:
                        arrivals.append(block.arrived)
                elif event:
                    end = event
        if end.get("type") != "done":
            raise CheckError(f"the answer ends with {end.get('error') or end.get('type') or 'a cut'}", _LOG)
        if not answer.endswith(SHORT_TEXT):
            raise CheckError("the answer came damaged", "see what stands between here and the server")
        if len(arrivals) < FEWEST_ARRIVALS:
            raise CheckError(
                f"the answer came in {len(arrivals)} pieces, not word by word",
                "turn response buffering off in the proxy (nginx: proxy_buffering off)",
            )
        return f"word by word, in {len(arrivals)} pieces over {arrivals[-1] - arrivals[0]:.1f} s"

    def _pings(self) -> str:
        """A stream with pings only: its answer is enqueued behind one that nobody reads."""
        busy = self._ask_echo(LONG_TEXT) + "&onDisconnect=continue"
        with self._site.ask("GET", busy) as response:
            if not any(block.event for block in _blocks(response)):
                raise CheckError("the stream was cut before its first token", _LOG)
        started = time.monotonic()
        waiting = self._ask_echo("enqueued") + "&whenBusy=enqueue"
        with self._site.ask("GET", waiting, timeout_seconds=PING_SECONDS) as response:
            for block in _blocks(response):
                if block.text == ": ping":
                    return f"a silent stream stays open, the first after {block.arrived - started:.1f} s"
                if block.event:
                    raise CheckError(f"no ping came within {block.arrived - started:.0f} s", "lower ping_seconds")
        raise CheckError(
            f"a silent stream was cut after {time.monotonic() - started:.0f} s",
            "raise the proxy's read time-out (nginx: proxy_read_timeout), or lower ping_seconds",
        )

    def _clean_up(self) -> str:
        if self._conversation is not None:
            # This stops the answer that is being generated.
            self._site.call("DELETE", f"{self._conversation}?erase=true")
        if self._agent is not None:
            self._site.call("DELETE", self._agent)
        return "the conversation is erased, and its agent deleted"
