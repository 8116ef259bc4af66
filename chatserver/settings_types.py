"""The types of settings: what each accepts, and the form in which it is kept.

Errors never quote the value, which may hold a password. pydantic makes one line of them.
"""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator

from chatserver.schema_types import parse_uuid

# In place of an address: whoever connects to the Unix socket, and what stands before the path of one.
UNIX = "unix"
_UNIX_PREFIX = f"{UNIX}:"

_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")


def _not_bool(value: object) -> object:
    if value is True or value is False:  # pydantic would read `port = true` as 1
        raise ValueError("should be a number, not a boolean")
    return value


def _split_list(value: object) -> object:
    """A list given as one string, in the environment: JSON, or separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass  # `[::1],localhost` starts with a bracket, too
    return [item.strip() for item in value.split(",") if item.strip()]


def decode_table(value: object) -> object:
    """A table; or one string, in the environment: a JSON object."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise ValueError("should be a table, in the environment a JSON object")
    return value


def decode_list(value: object) -> object:
    """A list of tables; or one string, in the environment: a JSON array."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list | tuple):
        raise ValueError("should be a list of tables, in the environment a JSON array")
    return value


def _normal_host(value: str) -> str:
    """A host as hosts are compared: lower case, an IPv6 address in its shortest form without brackets."""
    host = value.strip().lower().rstrip(".")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise ValueError("should be a host name or an IP address, without scheme or port") from None
        return host


def _split_url(value: str) -> SplitResult:
    """`urlsplit` that refuses URLs which it would silently repair. Its own errors quote the URL; ours do not."""
    if any(not character.isprintable() or character.isspace() for character in value):
        raise ValueError("should hold no spaces and no control characters")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a valid URL") from None
    return parts


def _normal_origin(value: str) -> str:
    """An origin as browsers send it (RFC 6454): `scheme://host`, and the port if it is not the default one."""
    parts = _split_url(value.strip())
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in ("", "/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("should be an origin such as https://chat.example.org")
    host = _normal_host(parts.hostname)
    host = f"[{host}]" if ":" in host else host
    default_port = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default_port) else "")


def _normal_proxy(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() == UNIX:
            return UNIX
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("should be an IP address, a network such as 10.0.0.0/8, or unix") from None
    return value


def _normal_listening_host(value: str) -> str:
    """A host or an address; or `unix:` and an absolute path."""
    text = value.strip()
    if not text.startswith(_UNIX_PREFIX):
        return _normal_host(text)
    path = text.removeprefix(_UNIX_PREFIX)
    if not path or not path.isprintable():
        raise ValueError("should name the file of a Unix socket, such as unix:/run/chatserver/chatserver.sock")
    return socket_host(_absolute(Path(path)))


def socket_path(host: str) -> Path | None:
    """The file of the Unix socket that the setting `host` names; None if it names an address."""
    return Path(host.removeprefix(_UNIX_PREFIX)) if host.startswith(_UNIX_PREFIX) else None


def socket_host(path: str | Path) -> str:
    """The setting `host` that names the file of a Unix socket."""
    return f"{_UNIX_PREFIX}{path}"


def _normal_database_url(value: str) -> str:
    from psycopg import ProgrammingError  # imported here: commands that need no database start faster without it
    from psycopg.conninfo import conninfo_to_dict

    scheme, separator, rest = value.strip().partition("://")
    if not separator or scheme.lower() not in ("postgresql", "postgres"):
        raise ValueError("should be a URL that begins with postgresql://")
    url = f"postgresql://{rest}"
    if any(not character.isprintable() for character in url):
        raise ValueError("should hold no control characters")
    try:
        conninfo_to_dict(url)
    except ProgrammingError:  # its text quotes the URL with the password
        raise ValueError("is not a valid PostgreSQL URL") from None
    return url


def _normal_folder(value: object) -> object:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("should name a folder")
    return value


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except (RuntimeError, OSError):  # there is no such user, or the current folder was removed
        raise ValueError("cannot be made an absolute path") from None


def _model_url(value: str) -> str:
    parts = _split_url(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not value.isascii():
        raise ValueError("should be a URL in ASCII that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("should hold no user and no password; a key belongs in the variable that api_key_env names")
    if parts.query or parts.fragment:
        raise ValueError("should have no query and no fragment")
    return value.rstrip("/")


def _provider_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError("should be a name of at most 64 letters, digits, dots, hyphens and underscores")
    return value


def _variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("should be the name of an environment variable, not the key itself")
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", value):
        raise ValueError("should be the name of a header, such as X-Forwarded-User")
    return value


def _company_id(value: object) -> object:
    return parse_uuid(value) if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool)]
HostName = Annotated[str, AfterValidator(_normal_host)]
ListeningHost = Annotated[str, AfterValidator(_normal_listening_host)]
Origin = Annotated[str, AfterValidator(_normal_origin)]
TrustedPeer = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]
Proxy = Annotated[TrustedPeer, BeforeValidator(_normal_proxy)]
DatabaseUrl = Annotated[str, AfterValidator(_normal_database_url)]
ModelUrl = Annotated[str, AfterValidator(_model_url)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
CompanyId = Annotated[UUID, BeforeValidator(_company_id)]
CompanyIds = Annotated[tuple[CompanyId, ...], BeforeValidator(_split_list)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HostNames = Annotated[tuple[HostName, ...], BeforeValidator(_split_list)]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_split_list)]
Proxies = Annotated[tuple[Proxy, ...], BeforeValidator(_split_list)]
Folder = Annotated[Path, BeforeValidator(_normal_folder), AfterValidator(_absolute)]
ProviderName = Annotated[str, AfterValidator(_provider_name)]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
