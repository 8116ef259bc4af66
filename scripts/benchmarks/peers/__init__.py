"""Servers to compare with: they send the same streams, but know no users, and store nothing unless told to.

The id of a conversation says what to send: `TOKENS-PACE_MS`, or `live`. A live stream waits for POST /publish, whose
body is a number of tokens, and sends that many to all its readers at once.
"""
