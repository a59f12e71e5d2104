"""What the stages of one build share, and how they run commands."""

import posixpath
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from services.steps.build.diagnosis import Phase, diagnose
from services.steps.build.masking import Mask, MaskedLines
from shared.contracts.errors import ZepidError
from shared.contracts.messages import BuildPlan, Command
from shared.pipeline import BY_NAME
from shared.ports import ANY_HOST, Exit, Manifest, Ports, Run

KEPT_LINES = 400
KEPT_COLUMNS = 2000
"""How much of a command's output a diagnosis sees; the log has it all."""
SETTLE_SECONDS = 20.0
"""Time left within the step's limit to store the output, or to say why there is none."""
LIMITS: Mapping[Phase, float] = {"install": 300.0, "build": 400.0}
"""Seconds one command of a phase may run."""

_UNPRINTABLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")


def plain(line: str) -> str:
    """Return a line of output without colours and control characters."""
    return _UNPRINTABLE.sub("", line)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ran to its end, and the last lines it printed."""

    phase: Phase
    shell: str
    exit: Exit
    lines: tuple[str, ...]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether the exit code says so; what was printed decides nothing."""
        return self.exit.code != 0 or self.exit.timed_out or self.exit.out_of_memory


@dataclass(frozen=True)
class Attempt:
    """One attempt at building one deployment.

    Attributes:
        source: the synced tree.
        variables: the project's environment variables for builds; never logged.
        until: when the last command must have ended, seconds since 1970.
    """

    command: Command
    ports: Ports
    plan: BuildPlan
    source: Manifest
    variables: Mapping[str, str]
    until: float = field(default_factory=lambda: time.time() + BY_NAME["build"].timeout - SETTLE_SECONDS)

    @cached_property
    def mask(self) -> Mask:
        """Hides the values of the variables in a text."""
        return Mask(self.variables.values(), plain)

    @property
    def sandbox(self) -> str:
        """Name of the sandbox."""
        return self.command.work.sandbox

    def say(self, message: str, level: str = "info") -> None:
        """Write a line of our own into the log."""
        self.ports.log.write("system", self.mask(message), level=level)

    def in_root(self, folder: str) -> str:
        """Return a folder of the plan's root as a path of the tree."""
        return posixpath.normpath(posixpath.join(self.plan.root, folder))

    async def run(
        self, phase: Phase, shell: str, cwd: str, env: Mapping[str, str], tools: tuple[str, str] | None = None
    ) -> Finished:
        """Run a command to its end, each line into the log.

        Installs reach the network, builds the hosts that the operator allows, tools of ours nothing.

        Without `tools` it finds those of the plan.

        Raises:
            ZepidError: SANDBOX_FENCED, SANDBOX_CONNECT_FAILED, SANDBOX_COMMAND_FAILED.
        """
        lines: deque[str] = deque(maxlen=KEPT_LINES)

        def keep(stream: str, line: str) -> None:
            lines.append(line[:KEPT_COLUMNS])
            self.ports.log.write(stream, line)

        output = MaskedLines(self.mask, keep)

        def on_output(stream: str, line: str) -> None:
            output.add(stream, plain(line))

        self.say(f"$ {shell}")
        began = time.monotonic()
        hosts = ANY_HOST if phase == "install" else () if tools else self.ports.settings.build_hosts
        if tools is None and self.plan.manager != "none":
            tools = self.plan.manager, self.plan.manager_version
        run = Run(shell, self._limit(phase), cwd, env, hosts, tools)
        try:
            exit = await self.ports.sandboxes.run(self.sandbox, self.ports.fence, run, on_output)
        finally:
            output.close()
        return Finished(phase, shell, exit, tuple(lines), time.monotonic() - began)

    def error(self, finished: Finished) -> ZepidError:
        """Return why a command failed."""
        return diagnose(finished.phase, finished.shell, finished.exit, finished.lines, self.plan, finished.seconds)

    def hide_variables(self, error: ZepidError) -> ZepidError:
        """Return an error of this attempt without the values of variables in its words."""
        error.message, error.excerpt = self.mask(error.message), self.mask(error.excerpt)
        return error

    def _limit(self, phase: Phase) -> float:
        return max(1.0, min(LIMITS[phase], self.until - time.time(), self.command.deadline - time.time()))
