"""What a check has to say: findings, which fail it, and notes, which only inform."""

from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Finding:
    """`where` is a file or folder of the repository, `what` says what is wrong there and what would be right."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class TreeReport:
    """What all checks said, and of how much; the same thing said of three clusters is said once."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    judged: str = ""

    def find(self, where: str, what: str) -> None:
        finding = Finding(where, what)
        if finding not in self.findings:
            self.findings.append(finding)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
