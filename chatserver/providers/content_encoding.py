"""Compressed bodies: some servers and proxies compress although `identity` was asked for; no I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

# Compressed data can become a thousand times longer. It is handed on in slices, and nothing more of it is made.
SLICE_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
# A body that begins so is not compressed, whatever its header says.
_PLAIN = (b"da", b"ev", b"id", b"re", b": ", b'{"', b"{}", b"{ ", b"{\n", b"{\r", b"[{", b"\xef\xbb")


class UndecodableError(Exception):
    """A body is compressed in a way that cannot be read

    The message names the encoding, or says that its data is damaged.
    """


class PlainBytes:
    """The bytes of a body as they were before they were compressed.

    `encoding` is the value of Content-Encoding, or empty. gzip is known by its first bytes, also where no header names
    it; a body that begins like an event stream or JSON is not decompressed.
    """

    __slots__ = ("_beginning", "_decided", "_encoding", "_inflater")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower().removeprefix("x-")
        self._decided = False
        self._beginning = b""
        self._inflater: Any = None  # None: the body is plain

    @property
    def is_plain(self) -> bool:
        """Whether it is clear that nothing is to be decompressed: `feed` would give what it is given."""
        return self._decided and self._inflater is None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The plain bytes of `chunk`, in slices. Raises UndecodableError."""
        if not self._decided:
            chunk = self._beginning + chunk
            if len(chunk) < len(_GZIP_MAGIC):
                self._beginning = chunk
                return
            self._decide(chunk)
        if self._inflater is None:
            yield chunk
            return
        yield from self._inflate(chunk)

    def end(self) -> bytes:
        """The last bytes. Raises EOFError if compressed data is not complete."""
        if self._inflater is not None and not self._inflater.eof:
            raise EOFError
        return b"" if self._decided else self._beginning

    def _decide(self, beginning: bytes) -> None:
        self._decided = True
        self._beginning = b""
        if beginning.startswith(_GZIP_MAGIC):
            self._inflater = zlib.decompressobj(_GZIP)
        elif self._encoding in ("", "identity", "gzip") or beginning.startswith(_PLAIN):
            self._inflater = None
        elif self._encoding == "deflate":
            # Zlib data (RFC 9110), or raw deflate, which some servers send instead.
            is_zlib = beginning[0] & 0x0F == 8 and int.from_bytes(beginning[:2], "big") % 31 == 0
            self._inflater = zlib.decompressobj(_ZLIB if is_zlib else _RAW_DEFLATE)
        else:
            known = self._encoding if self._encoding in ("br", "zstd", "compress") else "an unknown encoding"
            raise UndecodableError(known)

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._inflater.eof:
                # RFC 1952: members may follow each other. What else follows is padding.
                data = self._beginning + data
                self._beginning = data if _GZIP_MAGIC.startswith(data) and data != _GZIP_MAGIC else b""
                if self._beginning or not data.startswith(_GZIP_MAGIC):
                    return
                self._inflater = zlib.decompressobj(_GZIP)
            try:
                piece = self._inflater.decompress(data, SLICE_BYTES)
            except zlib.error:
                raise UndecodableError("damaged data") from None
            data = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < SLICE_BYTES:
                return
