"""Every CEL expression of the tree: where it stands, and what it says of an object."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.gitops.flux import Cluster, title
from pipelines.gitops.kustomize import Manifest


@dataclass(frozen=True)
class Expression:
    """`kind` is the kind that a health check is about, where it says one."""

    where: str
    place: str
    text: str
    group: str = ""
    kind: str = ""

    def problem(self) -> str | None:
        """Why it does not compile; None when it does."""
        import cel

        try:
            cel.compile(self.text)
        except ValueError as error:
            return str(error).splitlines()[0]
        return None

    def evaluate(self, variables: dict[str, Any]) -> Any:
        """Its value; a field that is not there makes it False, as Flux takes it."""
        import cel

        try:
            return cel.compile(self.text).execute(variables)
        except (KeyError, RuntimeError, ValueError, TypeError):
            return False


def expressions(cluster: Cluster) -> Iterator[Expression]:
    """All of a cluster."""
    for _, manifest in cluster.objects():
        yield from _expressions(manifest)


def _expressions(manifest: Manifest) -> Iterator[Expression]:
    spec, where = manifest.get("spec") or {}, title(manifest)
    for check in spec.get("healthCheckExprs") or []:
        group = str(check.get("apiVersion", "")).rpartition("/")[0]
        for state in ("current", "inProgress", "failed"):
            if state in check:
                yield Expression(where, f"healthCheckExprs.{state}", check[state], group, check.get("kind", ""))
    for entry in spec.get("dependsOn") or []:
        if "readyExpr" in entry:
            yield Expression(where, "dependsOn.readyExpr", entry["readyExpr"])
    if "commitStatusExpr" in spec:
        yield Expression(where, "commitStatusExpr", spec["commitStatusExpr"])
    if manifest.get("kind") == "ValidatingAdmissionPolicy":
        for variable in spec.get("variables") or []:
            yield Expression(where, f"variables.{variable['name']}", variable["expression"])
        for validation in spec.get("validations") or []:
            yield Expression(where, "validations.expression", validation["expression"])
            if "messageExpression" in validation:
                yield Expression(where, "validations.messageExpression", validation["messageExpression"])
        for condition in spec.get("matchConditions") or []:
            yield Expression(where, "matchConditions.expression", condition["expression"])
