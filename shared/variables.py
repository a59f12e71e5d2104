"""What an environment variable may be called and hold."""

import re

MOST_VARIABLES = 100
MOST_BYTES = 64 * 1024
"""Names and values of a project together."""
MOST_VALUE_BYTES = 32 * 1024
LONGEST_NAME = 128

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED = frozenset(
    {
        *("PATH", "HOME", "PWD", "OLDPWD", "SHELL", "USER", "LOGNAME", "IFS", "ENV", "BASH_ENV", "SHLVL"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
    }
)
_RESERVED_PREFIXES = ("LD_", "ZEPID_")


def fault_in_name(name: str) -> str | None:
    """Return why no variable can have this name, None if it can."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        return f"A name has letters, digits and underscores, no digit first, and at most {LONGEST_NAME} characters"
    if name.upper() in _RESERVED or name.upper().startswith(_RESERVED_PREFIXES):
        return "This name is reserved: the build's surroundings set it"
    return None


def fault_in_value(value: str) -> str | None:
    """Return why no variable can have this value, None if it can; never shows the value."""
    if "\0" in value:
        return "A value can't hold a NUL character"
    if len(value.encode(errors="surrogatepass")) > MOST_VALUE_BYTES:
        return f"A value may have at most {MOST_VALUE_BYTES // 1024} KiB"
    return None
