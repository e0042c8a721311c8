"""``edgesdk doctor``: what this machine can do, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgesdk.cli.options import command, home_option
from edgesdk.errors import ConfigurationError, EdgeError
from edgesdk.files import Home

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


@dataclass
class Findings:
    """What was found: facts by section, and what is wrong.

    A fault keeps something from working; a warning is about what should be better.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    problems: list[dict[str, str | None]] = field(default_factory=list)

    def add(self, section: str, rows: list[tuple[str, str]], **facts: object) -> None:
        """Something about the machine: for people, and for programs."""
        self.rows.setdefault(section, []).extend(rows)
        self.facts.setdefault(section, {}).update(facts)

    def warning(self, about: str, message: str, hint: str | None = None) -> None:
        """Something that should be better."""
        self._problem("warning", about, message, hint)

    def fault(self, about: str, message: str, hint: str | None = None) -> None:
        """Something that does not work."""
        self._problem("fault", about, message, hint)

    def fault_of(self, about: str, error: EdgeError) -> None:
        """The same, as the library tells it."""
        self.fault(about, f"{type(error).__name__}[{error.reason}]: {error}", error.hint)

    def _problem(self, grade: str, about: str, message: str, hint: str | None) -> None:
        self.problems.append({"grade": grade, "about": about, "message": message, "hint": hint})

    @property
    def faults(self) -> int:
        """How many things do not work."""
        return sum(problem["grade"] == "fault" for problem in self.problems)


@command("doctor", examples=["edgesdk doctor", "edgesdk doctor --json"])
@home_option
def doctor(out: Output, *, home: str | None) -> None:
    """Show what this machine can do, and what is wrong with it.

    Looks at the processor, the kernels, the memory that can be locked, the clock,
    the libraries, and the configuration folder with its keys and permissions. Ends
    with exit code 6 when something does not work; warnings do not count.
    """
    # Each looks at what may be missing, and says so.
    from edgesdk.cli import doctor_home, doctor_machine  # noqa: PLC0415 - keeps --help fast

    found = Findings()
    doctor_machine.examine(found)
    doctor_home.examine(found, Home.find(home))
    out.document.update({**found.facts, "problems": found.problems})
    for section, rows in found.rows.items():
        out.line(section)
        out.fields((f"  {name}", value) for name, value in rows)
        out.line()
    for problem in found.problems:
        out.fields([(str(problem["grade"]), f"{problem['about']}: {problem['message']}")])
        if problem["hint"]:
            out.fields([("  hint", problem["hint"])])
    if found.faults:
        count = f"{found.faults} fault{'s' * (found.faults != 1)}"
        raise ConfigurationError("invalid", f"expected a machine without faults, got {count}")
    if not found.problems:
        out.line("Nothing is wrong.")
