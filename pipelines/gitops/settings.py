"""apps/<use case>/<environment>/settings.yaml: what a use case says about its server, as kustomize can read it.

kustomize copies values from one object into another but cannot compute: what is computed from usecase.yaml is computed
here, and the shared component `apps/components/settings` puts it where it belongs.
"""

import json

from pipelines.documents import Value
from pipelines.usecase import UseCase

SETTINGS_FILE = "settings.yaml"
PRE_STOP_SECONDS = 5  # as in apps/components/model-server/deployment.yaml
LAST_ANSWERS_SECONDS = 25  # for connections to close after the longest request


class ServerSettings(Value):
    """Every value is text, as a ConfigMap's are; kustomize gives it the type of what it replaces."""

    usecase: str
    minReplicas: str  # noqa: N815 - these are the ConfigMap's keys
    maxReplicas: str  # noqa: N815
    cpu: str
    memory: str
    requestTimeout: str  # noqa: N815
    stopWithinSeconds: str  # noqa: N815

    @classmethod
    def of(cls, usecase: UseCase) -> "ServerSettings":
        serving = usecase.serving
        timeout = max(1, round(serving.timeout.total_seconds()))
        fewest, most = serving.replicas
        return cls(
            usecase=usecase.name,
            minReplicas=str(fewest),
            maxReplicas=str(most),
            cpu=serving.cpu,
            memory=serving.memory,
            requestTimeout=f"{timeout}s",
            stopWithinSeconds=str(PRE_STOP_SECONDS + timeout + LAST_ANSWERS_SECONDS),
        )

    def to_yaml(self, sources: list[str]) -> str:
        """The ConfigMap, which is input to kustomize and never reaches a cluster itself."""
        lines = [
            f"# Written by `mlops render` from {' and '.join(sources)}: change it there.",
            "apiVersion: v1",
            "kind: ConfigMap",
            "metadata:",
            "  name: settings",
            "  annotations:",
            '    config.kubernetes.io/local-config: "true"',
            "data:",
            *(f"  {key}: {json.dumps(value)}" for key, value in self.model_dump().items()),
        ]
        return "\n".join(lines) + "\n"
