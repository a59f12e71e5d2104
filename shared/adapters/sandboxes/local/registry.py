"""The host's own way to the package registry: its address, certificates and proxy, never its tokens."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_NPMRC = ("/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc", "~/.npmrc")
_PASSED = ("registry", "cafile", "https-proxy", "proxy", "noproxy", "strict-ssl")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
_DEFAULTS = ("https://registry.npmjs.org", "https://registry.yarnpkg.com")
_PORTS = {"http": 80, "https": 443}
_CERTIFICATES = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Registry:
    """What an install must be told.

    Attributes:
        variables: environment variables as they are.
        certificates: variable → file on this host with certificates, to be shown in the sandbox.
        proxy: address of the host's own proxy, "" where it has none; its password stays here.
        unproxied: hosts that are reached without it, separated by commas.
    """

    variables: dict[str, str]
    certificates: dict[str, Path]
    proxy: str = ""
    unproxied: str = ""

    @property
    def endpoints(self) -> frozenset[tuple[str, int]]:
        """Host and port of the registries: the host's own, else those that package managers ask by themselves."""
        named = self.variables.get("npm_config_registry")
        urls = map(urlsplit, [named] if named else _DEFAULTS)
        return frozenset((url.hostname or "", url.port or _PORTS.get(url.scheme, 443)) for url in urls)

    def proxy_for(self, host: str) -> str:
        """Return the proxy by which this host reaches another, "" where it does so directly."""
        names = [name.strip().lstrip("*.") for name in self.unproxied.split(",") if name.strip()]
        is_direct = any(not name or host == name or host.endswith(f".{name}") for name in names)
        return "" if is_direct else self.proxy


def registry_of(environ: Mapping[str, str] = os.environ) -> Registry:
    """Read what npm would read here: its configuration files, then the environment."""
    settings: dict[str, str] = {}
    for name in (*_NPMRC[:3], environ.get("NPM_CONFIG_USERCONFIG", _NPMRC[3])):
        settings |= _read_npmrc(Path(name).expanduser(), environ)
    for name, value in environ.items():
        if name.lower().startswith("npm_config_"):
            settings[name[len("npm_config_") :].lower().replace("_", "-")] = value
    proxies = {name: environ[name] for name in _PROXIES if environ.get(name)}
    variables = {name: _without_user(value) for name, value in proxies.items()}
    certificates = {name: environ[name] for name in _CERTIFICATES if environ.get(name)}
    for key in _PASSED:
        if value := settings.get(key, ""):
            target = certificates if key == "cafile" else variables
            target[f"npm_config_{key.replace('-', '_')}"] = _without_user(value)
    if registry := variables.get("npm_config_registry"):
        variables |= {"YARN_NPM_REGISTRY_SERVER": registry, "BUN_CONFIG_REGISTRY": registry}
    files = {name: Path(text).expanduser() for name, text in certificates.items()}
    return Registry(
        variables,
        {name: file for name, file in files.items() if file.is_file()},
        settings.get("https-proxy") or proxies.get("https_proxy") or proxies.get("HTTPS_PROXY", ""),
        settings.get("noproxy") or proxies.get("no_proxy") or proxies.get("NO_PROXY", ""),
    )


def _read_npmrc(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    if not path.is_file() or not os.access(path, os.R_OK):
        return {}
    pairs = (line.partition("=") for line in path.read_text(errors="replace").splitlines())
    settings = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs if key.strip() in _PASSED}
    home = environ.get("HOME", "~")
    return {key: value.replace("${HOME}", home) for key, value in settings.items()}


def _without_user(value: str) -> str:
    parts = urlsplit(value)
    if "@" not in parts.netloc:
        return value
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
