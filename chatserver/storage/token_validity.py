"""Which tokens give access now, and which may have answers generated."""

IS_VALID = "(t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp()))"
"""True for tokens that are neither revoked nor expired. `t` is the name of `api_tokens` in the statement."""

MAY_ASK = f"({IS_VALID} AND t.role <> 'reader')"
"""True for tokens on whose behalf answers may go on: readers may not have answers generated."""
