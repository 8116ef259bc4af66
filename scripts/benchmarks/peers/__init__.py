"""What the server is compared with: the same streams from bare servers, which keep nothing and know nobody.

Each is told by the id of the conversation what to answer: `TOKENS-PACE_MS`, or `live`, which waits for POST /publish
and then sends to all of its readers at once what the body says: the number of tokens.
"""
