"""Servers to compare with: they send the same events, but know no users, and store nothing unless told to.

The id of a conversation says what its answers are:

* `TOKENS-PACE_MS`: so many tokens, one every `PACE_MS`; 0: all at once. With `pg-` before it (`pg-TOKENS-PACE_MS-…`),
  question and answer are stored, and the conversation is made by `POST /api/conversations` with `{"id"}`.
* `live`: waits for `POST /publish/TOKENS-PACE_MS`, which sends one answer to all its readers.
* `idle-PING_MS`: nothing but a comment every `PING_MS`.
* `relay`: what the model behind the peer sends.

`POST /api/conversations/{id}/messages` responds with `{"id"}`, and `GET /api/conversations/{id}/stream` is the stream.
Each event is flushed on its own, as large as chatserver's.
"""
