r"""What the tools print when they fail, as rules; the first that matches explains the failure.

Patterns see plain text, `^` and `$` at every line, and paths relative to the folder the command ran
in. Groups: `file` and `line` where; `name` a package, import, command or script; `text` the tool's
own words. Each rule has a recorded output in `tests/unit/test_diagnosis.py`.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Text that tells a code.

    Attributes:
        code: row of the error table.
        pattern: what the tool prints.
        message: sentence for people, with the groups in braces; "" for a missing import.
    """

    code: str
    pattern: re.Pattern[str]
    message: str = "{text}"


def _rule(code: str, pattern: str, message: str = "{text}") -> Rule:
    return Rule(code, re.compile(pattern, re.MULTILINE), message)


def _rules(code: str, message: str, *patterns: str) -> tuple[Rule, ...]:
    return tuple(_rule(code, pattern, message) for pattern in patterns)


def _missing(pattern: str) -> Rule:
    return _rule("BUILD_DEPENDENCY_MISSING", pattern, "")


_TS = r"^(?P<file>\S.*?)[(:](?P<line>\d+)[,:]\d+(?:\): | - )error "
_BOX = r"\n.*\[ (?P<file>\S+?):(?P<line>\d+):\d+ \]"
_NPM = r"^npm (?:error|ERR!) "
_OFFLINE = r"(?:ENOTFOUND|EAI_AGAIN|E(?:SOCKET)?TIMEDOUT|ECONNRESET|ECONNREFUSED|ERR_SOCKET_TIMEOUT)"

ANY_PHASE = (
    _rule(
        "BUILD_OUT_OF_MEMORY",
        r"JavaScript heap out of memory|memory allocation of \d+ bytes failed",
        "{shell} ran out of memory",
    ),
    _rule("BUILD_DISK_FULL", r"ENOSPC: no space|No space left on device|EDQUOT", "{shell} filled the sandbox's disk"),
)

COMMAND_NOT_FOUND = _rules(
    "BUILD_DEPENDENCY_MISSING",
    "the command {name} was not found: no installed package brings it",
    r"^(?:/\S+/)?\w*sh: (?:line )?(?:\d+: )?(?P<name>[^\s:]+): (?:command )?not found",
    r"^command not found: (?P<name>\S+)",
)

_REFUSED = _rule("BUILD_NETWORK_REFUSED", r"^network: (?P<name>\S+) was refused: (?P<text>.+)$", "{name}: {text}")

INSTALL = (
    *_rules(
        "BUILD_LOCKFILE_OUTDATED",
        "the lock file does not fit package.json",
        r"`npm ci` (?:command )?can only install",
        r"ERR_PNPM_(?:OUTDATED_LOCKFILE|LOCKFILE_\w+|NO_LOCKFILE|BROKEN_LOCKFILE)",
        r"^error Your lockfile needs to be updated",
        r"YN0028:.*forbidden",
        r"^error: lockfile had changes, but lockfile is frozen",
    ),
    *_rules(
        "BUILD_INSTALL_FAILED",
        "the registry has no package {name}",
        rf"{_NPM}404\s+(?:The requested resource )?'(?P<name>[^']+)' (?:could not be found|is not in)",
        r"help: (?P<name>\S+) is not in the npm registry",
        r"ERR_PNPM_FETCH_404\s+GET \S+/(?P<name>[^/\s:]+): ",
        r"^error Couldn't find package \"(?P<name>[^\"]+)\"",
        r"^error: GET \S+/(?P<name>[^/\s]+) - 404",
    ),
    *_rules(
        "BUILD_INSTALL_FAILED",
        "the registry has no version {text} of {name}",
        rf"{_NPM}notarget No matching version found for (?P<name>\S+)@(?P<text>[^@\s]+)\.$",
        r"^error Couldn't find any versions for \"(?P<name>[^\"]+)\" that matches \"(?P<text>[^\"]+)\"",
        r"^error: No version matching \"(?P<text>[^\"]+)\" found for specifier \"(?P<name>[^\"]+)\"",
        r"Failed to resolve (?P<name>\S+)@(?P<text>[^@\s]+)$",
        r"No matching version found for (?P<name>\S+)@(?P<text>[^@\s]+)",
    ),
    _rule(
        "BUILD_INSTALL_FAILED",
        rf"{_NPM}peer (?P<name>\S+) from (?P<text>\S+)$",
        "the versions of the packages do not fit together: {text} wants {name}",
    ),
    _rule(
        "BUILD_INSTALL_FAILED",
        rf"{_NPM}code EINTEGRITY",
        "a package is not the one that the lock file names: its checksum differs",
    ),
    _REFUSED,
    *_rules(
        "BUILD_REGISTRY_UNAVAILABLE",
        "the package registry did not answer {shell}",
        rf"{_NPM}code (?:{_OFFLINE}|E429|E5\d\d)$",
        rf"ERR_PNPM_(?:META_FETCH_FAIL|FETCH_(?:429|5\d\d))|^\s*{_OFFLINE}\s+request to",
        rf"^error .*\b{_OFFLINE}\b",
        r"YN0001:.*(?:RequestError|TimeoutError)",
        r"^error: (?:DNSResolveFailed|ConnectionRefused|ConnectionClosed|Timeout) downloading",
        r"^error: GET \S+ - 5\d\d",
        r"^error: ProxyConnectFailed \(5\d\d\)",
        r"^error .*tunneling socket could not be established, statusCode=5\d\d",
    ),
    _rule(
        "BUILD_INSTALL_FAILED",
        rf"{_NPM}path (?P<name>\S+)\n{_NPM}command failed\n{_NPM}command (?:sh -c )?(?P<text>.+)$",
        "the install script `{text}` failed in {name}",
    ),
    *_rules(
        "BUILD_INSTALL_FAILED",
        "{text} ({name})",
        rf"{_NPM}code (?P<name>E[A-Z]+)\n{_NPM}(?P<text>\S.+)$",
        r"(?P<name>ERR_PNPM_\w+)\n(?:.*\n){1,3}?.*╰─▶ (?P<text>.+)$",
        r"(?P<name>ERR_PNPM_\w+)\s+(?P<text>\S.+)$",
    ),
    _rule("BUILD_INSTALL_FAILED", r"^error:? (?P<text>.+)$"),
)

_SCRIPT = _rules(
    "BUILD_SCRIPT_MISSING",
    "package.json has no script {name}",
    r"Missing script: \"?(?P<name>[\w:.-]+)",
    r"Couldn't find a script named \"(?P<name>[^\"]+)\"",
    r"^error: Script not found \"(?P<name>[^\"]+)\"",
    r"^error Command \"(?P<name>[^\"]+)\" not found",
)

_IMPORTS = tuple(
    _missing(pattern)
    for pattern in (
        rf"{_TS}TS2307: Cannot find module '(?P<name>[^']+)'",
        rf"\[UNRESOLVED_IMPORT\] Could not resolve '(?P<name>[^']+)' in \S+{_BOX}",
        r"(?:Rollup|Rolldown) failed to resolve import \"(?P<name>[^\"]+)\" from \"(?P<file>[^\"]+)\"",
        r"Could not resolve \"(?P<name>[^\"]+)\" from \"(?P<file>[^\"]+)\"",
        r"\[ERROR\] Could not resolve \"(?P<name>[^\"]+)\".*\n\s*\n\s+(?P<file>\S+?):(?P<line>\d+):\d+:",
        r"Failed to resolve import \"(?P<name>[^\"]+)\" from \"(?P<file>[^\"]+)\"",
        r"Failed to resolve (?P<name>\S+) from (?P<file>\S+)",
        r"^ERROR in (?P<file>\S+)(?: (?P<line>\d+):\S*)?\nModule not found: Error: Can't resolve '(?P<name>[^']+)'",
        r"^(?P<file>\./\S+?)(?::(?P<line>\d+):\d+)?\n(?:Error: )?Module not found: Can't resolve '(?P<name>[^']+)'",
        r"Cannot find (?:package|module) '(?P<name>[^']+)' imported from (?P<file>\S+)",
        r"Cannot find module '(?P<name>[^']+)'(?:\nRequire stack:\n- (?P<file>\S+))?",
    )
)

_TYPES = (
    _rule("BUILD_SYNTAX_ERROR", rf"{_TS}TS(?:1[01]\d\d|138[12]|17\d\d\d): (?P<text>.+)$"),
    _rule("BUILD_TYPE_ERROR", rf"{_TS}(?P<name>TS\d+): (?P<text>.+)$", "{text} ({name})"),
    _rule("BUILD_TYPE_ERROR", r"^(?P<file>\S.*?):(?P<line>\d+):\d+\nError: (?P<text>.+ \(\w+\))$"),
    _rule("BUILD_TYPE_ERROR", r"^(?P<file>\./\S+?):(?P<line>\d+):\d+\nType error: (?P<text>.+)$"),
    _rule("BUILD_COMMAND_FAILED", r"^error (?P<name>TS\d+): (?P<text>.+)$", "{text} ({name})"),
)

_SYNTAX = _rules(
    "BUILD_SYNTAX_ERROR",
    "{text}",
    rf"\[(?:builtin:\S+|PARSE_ERROR)\] (?P<text>.+){_BOX}",
    r"^\[plugin \S+\] (?P<file>\S+?):(?P<line>\d+):\d+\n"
    r"(?:\w*Error: )?(?:\[\w+\] )?(?:\S+:\d+:\d+:? )?(?P<text>.+)$",
    r"^(?:\[ERROR\] )?\[vite:\S+\] (?P<file>\S+) \((?P<line>\d+):\d+\): (?P<text>.+)$",
    r"^(?P<file>\S+?):(?P<line>\d+):\d+: ERROR: (?P<text>.+)$",
    r"\[ERROR\] (?P<text>.+)\n\s*\n\s+(?P<file>\S+?):(?P<line>\d+):\d+:",
    r"^ERROR in (?P<file>\S+)(?: (?P<line>\d+):\S*)?\nModule parse failed: (?P<text>.+?)(?: \(\d+:\d+\))?$",
    r"^SyntaxError: (?P<file>\S+?): (?P<text>.+) \((?P<line>\d+):\d+\)$",
    r"^(?P<text>(?:Unexpected|Expected|Unterminated|Unclosed) .*)"
    r"\n\s+Location:\n\s+(?P<file>\S+?):(?P<line>\d+):\d+$",
    r"^(?P<file>\./\S+?):(?P<line>\d+):\d+\nError: (?P<text>.+)$(?=[\s\S]*^Parsing \w+ source code failed)",
    r"^Error:\s+[x×] (?P<text>.+)\n\s+\S+\[(?P<file>\S+?):(?P<line>\d+):\d+\]",
    r"^(?P<file>\S+\.[cm]?[jt]sx?):(?P<line>\d+)\n(?:.*\n){1,6}?SyntaxError: (?P<text>.+)$",
    r"^SyntaxError: (?P<text>(?!.*JSON).+)$",
)

_HOST = r"(?P<name>[\w.-]+)"
_NETWORK = (
    _rule(
        "BUILD_NETWORK_REFUSED",
        r"^Failed to fetch (?:font )?`?(?P<name>[^`\n]{1,80}?)`? from Google Fonts",
        "the font {name} could not be fetched from Google Fonts",
    ),
    _REFUSED,
    _rule("BUILD_NETWORK_REFUSED", r"^network: (?P<name>\S+) was not reached: (?P<text>.+)$", "{name}: {text}"),
    *_rules(
        "BUILD_NETWORK_REFUSED",
        "the build could not reach {name}",
        rf"\b(?:getaddrinfo|query\w+) (?:EAI_AGAIN|ENOTFOUND) {_HOST}",
        rf"Could not resolve host: {_HOST}",
    ),
)

_OTHER = _rules(
    "BUILD_COMMAND_FAILED",
    "{text}",
    rf"\[MISSING_EXPORT\] (?P<text>\".+\" is not exported by \"[^\"]+\").*{_BOX}",
    r"^(?P<file>\S+) \((?P<line>\d+):\d+\): (?P<text>\".+\" is not exported by \"[^\"]+\")",
    r"^(?P<text>\S.*)\n\s+Location:\n\s+(?P<file>\S+?):(?P<line>\d+):\d+$",
    r"^\[11ty\] \d+\. \((?P<file>\S+?)\)(?: \[Line (?P<line>\d+).*\])?\n\[11ty\]\s+(?P<text>.+?)(?: \(via .+\))?$",
    r"^(?P<file>\./\S+?):(?P<line>\d+):\d+\nError: (?P<text>.+)$",
    r"^(?P<file>\S+\.[cm]?[jt]sx?):(?P<line>\d+)\n(?:.*\n){1,6}?(?P<text>\w*Error: .+)$",
    r"(?P<text>\b[A-Z]\w*Error: .+)$",
    r"^(?P<text>Error: .+)$",
)

BUILD = (*_SCRIPT, *_IMPORTS, *_TYPES, *_SYNTAX, *_NETWORK, *_OTHER)
