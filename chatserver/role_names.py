"""What roles are called outside of the code; `services/access.py` says what each may."""

from __future__ import annotations

from typing import Literal, get_args

RoleName = Literal["reader", "member", "manager"]

ROLE_NAMES: tuple[RoleName, ...] = get_args(RoleName)
"""From the lowest to the highest."""
