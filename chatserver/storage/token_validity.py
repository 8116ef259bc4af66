"""Which tokens give access now."""

IS_VALID = "(t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp()))"
"""True for tokens that are neither revoked nor expired. `t` is the name of `api_tokens` in the statement."""
