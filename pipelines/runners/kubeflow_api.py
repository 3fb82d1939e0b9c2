"""What is asked of Kubeflow Pipelines' API server, over KFP's own client, with errors that say what to do."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import SecretStr

from pipelines.errors import MlopsError
from pipelines.runs.request import RunRequest
from pipelines.variables import Variables, variable

TIMEOUT_SECONDS = (5, 30)
NEWEST = 100
VERSION_TAG = "version"
QUOTA = re.compile(r"exceeded quota|quota exceeded|insufficient quota", re.IGNORECASE)
ACTIVE = ("PENDING", "RUNNING", "CANCELING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED", None)

T = TypeVar("T")


class KubeflowError(MlopsError):
    """Kubeflow Pipelines did not do what was asked."""


class KubeflowNotSet(KubeflowError):
    """Nobody has said where its API server is."""


class KubeflowAway(KubeflowError):
    """Its API server does not answer."""


class KubeflowLoginWanted(KubeflowError):
    """It wants a token, or another one."""


class PipelineNotDelivered(KubeflowError):
    """It has no pipeline of this name, or no version of it: Flux has not applied what Git holds."""


class VersionUnknown(KubeflowError):
    """It has the pipeline, but not this version."""


class RunUnknown(KubeflowError):
    """It has no such run."""


class QuotaExceeded(KubeflowError):
    """The namespace may not have more pods, cores or memory."""


@dataclass(frozen=True)
class PipelineVersion:
    """A delivered version of a pipeline."""

    pipeline: str
    pipeline_id: str
    version_id: str
    name: str


class KubeflowVariables(Variables):
    """Read by `mlops run --runner kubeflow` and by the Job that delivers pipelines."""

    title: ClassVar[str] = "Kubeflow Pipelines"

    url: str = variable(
        "MLOPS_KUBEFLOW_URL",
        "",
        "Its API server; in a cluster `http://ml-pipeline.kubeflow.svc.cluster.local:8888`.",
        shown="none; needed",
    )
    token: SecretStr | None = variable(
        "MLOPS_KUBEFLOW_TOKEN", None, "Bearer token, where something in front of it asks for one.", file=False
    )
    token_file: Path | None = variable(
        "MLOPS_KUBEFLOW_TOKEN_FILE",
        None,
        "The same in a file, such as a projected service account token; read at each request.",
    )
    namespace: str = variable(
        "MLOPS_KUBEFLOW_NAMESPACE",
        "",
        "Whose pipelines, where it serves several teams.",
        shown="those of the server itself",
    )


@dataclass(frozen=True)
class KubeflowAccess:
    """Where the API server is and how one gets in."""

    url: str
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    namespace: str = ""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "KubeflowAccess":
        given = KubeflowVariables.load(environ)
        url = given.url.rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise KubeflowNotSet(
                f"MLOPS_KUBEFLOW_URL is {url!r}; it names Kubeflow Pipelines' API server, http(s)://…",
                hint="from outside a cluster: `kubectl -n kubeflow port-forward svc/ml-pipeline 8888`, then "
                "MLOPS_KUBEFLOW_URL=http://localhost:8888",
            )
        token = given.token.get_secret_value() if given.token else ""
        return cls(url, token, given.token_file, given.namespace)

    def bearer(self) -> str:
        """Read each time: projected tokens are renewed while a training runs."""
        if self.token or self.token_file is None:
            return self.token
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise KubeflowLoginWanted(f"MLOPS_KUBEFLOW_TOKEN_FILE {self.token_file}: {error.strerror}") from None


class KubeflowApi:
    """Pipelines and runs of one API server."""

    def __init__(self, access: KubeflowAccess) -> None:
        import kfp_server_api as server

        self.access = access
        self._models = server
        configuration = server.Configuration(host=access.url)
        configuration.verify_ssl = True
        configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
        configuration.retries = False
        self._client = server.ApiClient(configuration)
        self._pipelines = server.PipelineServiceApi(self._client)
        self._runs = server.RunServiceApi(self._client)

    def version(self, pipeline: str, version: str | None = None) -> PipelineVersion:
        """The version that Git asks for, or a named one. Raises PipelineNotDelivered, VersionUnknown."""
        asked = {"namespace": self.access.namespace} if self.access.namespace else {}
        found = self._ask(self._pipelines.pipeline_service_get_pipeline_by_name, pipeline, **asked)
        if found is None:
            raise PipelineNotDelivered(
                f"{self.access.url} has no pipeline {pipeline}",
                hint=f"does the cluster have the line models/{pipeline}.yaml and a pipelines/images.yaml? then "
                f"`flux get kustomization {pipeline}-pipeline`",
            )
        wanted = version or (found.tags or {}).get(VERSION_TAG)
        listed = self._ask(
            self._pipelines.pipeline_service_list_pipeline_versions,
            found.pipeline_id,
            page_size=NEWEST,
            sort_by="created_at desc",
        )
        versions = {each.display_name or each.name: each for each in (listed and listed.pipeline_versions) or []}
        if not versions:
            raise PipelineNotDelivered(
                f"{pipeline} has no version at {self.access.url}",
                hint=f"`flux get kustomization {pipeline}-pipeline-version` says what keeps it",
            )
        if wanted and wanted not in versions:
            raise VersionUnknown(
                f"{pipeline} has no version {wanted} at {self.access.url}; it has: {', '.join(list(versions)[:5])}",
                hint=f"Flux may be about to apply it: `flux get kustomization {pipeline}-pipeline-version`",
            )
        chosen = versions[wanted] if wanted else next(iter(versions.values()))
        return PipelineVersion(
            pipeline, found.pipeline_id, chosen.pipeline_version_id, chosen.display_name or chosen.name
        )

    def start(self, version: PipelineVersion, request: RunRequest) -> Any:
        """Begin a run; what comes back has its id."""
        parameters = {"request": request.to_values(exclude_none=True)}
        wanted = self._models.V2beta1Run(
            display_name=request.run_id,
            description=request.reason,
            pipeline_version_reference=self._models.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
            ),
            runtime_config=self._models.V2beta1RuntimeConfig(parameters=parameters),
            # Its MLflow run is then in the use case's experiment, and becomes ours (pipelines.runs.tracking).
            plugins_input={"mlflow": {"experiment_name": request.usecase}},
        )
        return self._known(self._ask(self._runs.run_service_create_run, wanted), request.run_id)

    def run(self, kubeflow_id: str) -> Any:
        return self._known(self._ask(self._runs.run_service_get_run, kubeflow_id), kubeflow_id)

    def find(self, run_id: str) -> Any:
        """The run that was started under our id. Raises RunUnknown."""
        predicate = {"key": "display_name", "operation": "EQUALS", "string_value": run_id}
        listed = self._ask(self._runs.run_service_list_runs, filter=json.dumps({"predicates": [predicate]}))
        return self._known(next(iter((listed and listed.runs) or []), None), run_id)

    def active(self, usecase: str) -> list[str]:
        """Our ids of the use case's runs that are under way."""
        named = re.compile(rf"{re.escape(usecase)}-\d{{8}}-\d{{6}}-[0-9a-f]{{4}}")
        asked = {"namespace": self.access.namespace} if self.access.namespace else {}
        listed = self._ask(self._runs.run_service_list_runs, page_size=NEWEST, sort_by="created_at desc", **asked)
        runs = (listed and listed.runs) or []
        return [run.display_name for run in runs if run.state in ACTIVE and named.fullmatch(run.display_name or "")]

    def terminate(self, kubeflow_id: str) -> None:
        self._ask(self._runs.run_service_terminate_run, kubeflow_id)

    def retry(self, kubeflow_id: str) -> None:
        """Go on with a failed run: what has succeeded is not done again."""
        self._ask(self._runs.run_service_retry_run, kubeflow_id)

    def log(self, kubeflow_id: str, pod: str) -> str:
        """What a step's pod said; empty where the server does not have it any more."""
        path = f"/apis/v1alpha1/runs/{kubeflow_id}/nodes/{pod}/log"
        try:
            answer = self._ask(
                self._client.call_api,
                path,
                "GET",
                header_params={"Accept": "text/plain"},
                auth_settings=[],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except KubeflowError:
            return ""
        return answer.data.decode(errors="replace") if answer is not None else ""

    def _known(self, run: T | None, what: str) -> T:
        if run is None:
            raise RunUnknown(f"{self.access.url} has no run {what}", hint="it may be archived or deleted there")
        return run

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The answer; None for 404."""
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        token = self.access.bearer()
        if token:
            self._client.set_default_header("Authorization", f"Bearer {token}")
        try:
            return call(*arguments, _request_timeout=TIMEOUT_SECONDS, **options)
        except ApiException as error:
            return self._refused(error)
        except (HTTPError, OSError) as error:
            why = str(error).rsplit(": ", 1)[-1]
            raise KubeflowAway(
                f"Kubeflow Pipelines does not answer at {self.access.url}: {why}",
                hint="does the port-forward still run? `kubectl -n kubeflow get pods` shows the server itself",
            ) from None

    def _refused(self, error: Any) -> None:
        said = _message(error)
        if error.status == 404:
            return
        if error.status in (401, 403):
            with_token = "the token does not allow it" if self.access.bearer() else "it wants a token"
            raise KubeflowLoginWanted(
                f"Kubeflow Pipelines at {self.access.url} refuses: {with_token} ({error.status} {said})",
                hint="set MLOPS_KUBEFLOW_TOKEN, or MLOPS_KUBEFLOW_TOKEN_FILE",
            )
        if error.status == 429 or QUOTA.search(said):
            raise QuotaExceeded(f"Kubeflow Pipelines at {self.access.url} is at its limit: {said}", hint="later again")
        if error.status in (502, 503, 504):
            raise KubeflowAway(f"Kubeflow Pipelines at {self.access.url} is not ready: {error.status} {said}")
        raise KubeflowError(f"Kubeflow Pipelines at {self.access.url} answers {error.status}: {said}")


def _message(error: Any) -> str:
    """gRPC's gateway puts the sentence into `message`; long ones hold a stack."""
    try:
        said = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        said = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    return str(said).strip().splitlines()[0][:400] if str(said).strip() else str(error.reason)
