"""What Kubeflow's backend does with a compiled pipeline, for tests: its images cannot be had here, so this stands in.
It walks the graph of the IR, gives each component its executor input, and has its command run in a Place, with the
environment that the platform spec names: in a process, a container, or a pod.

Not done: retries, caching, parallel tasks, loops. Conditions are of the one form that this pipeline has.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests import kfp_launcher

LAUNCHER = Path(kfp_launcher.__file__)
CONDITION = re.compile(r"inputs\.parameter_values\['(?P<name>[^']+)'\] == true")
OUTPUTS = "/tmp/kfp/outputs"


@dataclass(frozen=True)
class Pod:
    """A step's container as the compiled pipeline asks for it."""

    step: str
    image: str
    told: dict[str, Any]
    variables: dict[str, str]
    platform: dict[str, Any]
    resources: dict[str, Any]

    def environment(self, config_maps: Mapping[str, Mapping[str, str]], secrets: Mapping[str, Mapping[str, str]]):
        """The variables that the pod would have in a namespace with these ConfigMaps and Secrets."""
        found = dict(self.variables)
        for part, name, key, stores in (
            ("configMapAsEnv", "configMapName", "configMapKey", config_maps),
            ("secretAsEnv", "secretName", "secretKey", secrets),
        ):
            for entry in self.platform.get(part, []):
                store = stores.get(entry[name])
                for pair in entry["keyToEnv"]:
                    if store is not None and pair[key] in store:
                        found[pair["envVar"]] = store[pair[key]]
                    elif not entry.get("optional"):
                        raise AssertionError(f"{self.step}: the pod could not start: no {pair[key]} in {entry[name]}")
        return found


class Place(Protocol):
    """Where steps run. `root` is where artifacts are kept, a folder or s3://…"""

    root: str

    def run(self, pod: Pod) -> tuple[int, str]:
        """Exit status and log."""

    def read(self, place: str) -> str | None:
        """A small file below the root; None if there is none."""


@dataclass
class Task:
    """A step that ran."""

    step: str
    status: int
    log: str
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)


Told = Callable[[str, Task | None], None]


class Backend:
    """Runs one compiled pipeline in a place."""

    def __init__(self, spec: dict[str, Any], platform: dict[str, Any], place: Place) -> None:
        self.spec, self.place = spec, place
        kubernetes = platform.get("platforms", {}).get("kubernetes", {})
        self.platform = kubernetes.get("deploymentSpec", {}).get("executors", {})
        self.stopped = False

    def run(self, run_id: str, request: dict[str, Any], told: Told = lambda _step, _task: None) -> dict[str, Task]:
        """The steps that ran; the last one is the one that failed, if one did."""
        self.run_id, self.told, self.done = run_id, told, {}
        self._dag(self.spec["root"]["dag"], {"request": request}, {})
        return self.done

    def _dag(self, dag: dict[str, Any], parameters: dict[str, Any], artifacts: dict[str, str]) -> bool:
        results: dict[str, Task] = {}
        for name in _in_order(dag["tasks"]):
            task = dag["tasks"][name]
            given = {
                k: self._parameter(v, parameters, results) for k, v in task["inputs"].get("parameters", {}).items()
            }
            handed = {k: self._artifact(v, artifacts, results) for k, v in task["inputs"].get("artifacts", {}).items()}
            condition = task.get("triggerPolicy", {}).get("condition")
            if condition and not given[CONDITION.fullmatch(condition)["name"]]:
                continue
            component = self.spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                if not self._dag(component["dag"], given, handed):
                    return False
                continue
            if self.stopped:
                return False
            results[name] = self._step(name, component, given, handed)
            if results[name].status != 0:
                return False
        return True

    def _step(self, name: str, component: dict[str, Any], given: dict[str, Any], handed: dict[str, str]) -> Task:
        pod, made, results = self.pod(name, component, given, handed)
        self.told(name, None)
        status, log = self.place.run(pod)
        kept = json.loads(self.place.read(results) or "{}") if status == 0 else {}
        task = Task(name, status, log, kept.get("parameters", {}), made)
        self.done[name] = task
        self.told(name, task)
        return task

    def pod(
        self, name: str, component: dict[str, Any], given: dict[str, Any], handed: dict[str, str]
    ) -> tuple[Pod, dict[str, str], str]:
        label = component["executorLabel"]
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        folder = f"{self.place.root}/{self.run_id}/{name}"
        inputs, outputs = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
        made = {key: f"{folder}/{key}" for key in outputs.get("artifacts", {})}
        scratch = OUTPUTS if self.place.root.startswith("s3://") else f"{folder}/outputs"
        executor_input = {
            "inputs": {
                "parameterValues": given,
                "artifacts": {k: _artifact(inputs["artifacts"][k], k, uri) for k, uri in handed.items()},
            },
            "outputs": {
                "parameters": {k: {"outputFile": f"{scratch}/{k}"} for k in outputs.get("parameters", {})},
                "artifacts": {k: _artifact(outputs["artifacts"][k], k, uri) for k, uri in made.items()},
                "outputFile": f"{scratch}/output_metadata.json",
            },
        }
        results = f"{folder}/results.json"
        command = {"command": container["command"], "args": container.get("args", [])}
        told = {"executor_input": executor_input, **command, "results": results}
        variables = {entry["name"]: entry["value"] for entry in container.get("env", [])}
        platform, resources = self.platform.get(label, {}), container.get("resources", {})
        return Pod(name, container["image"], told, variables, platform, resources), made, results

    def _parameter(self, source: dict[str, Any], parameters: dict[str, Any], results: dict[str, Task]) -> Any:
        if "componentInputParameter" in source:
            return parameters[source["componentInputParameter"]]
        wanted = source["taskOutputParameter"]
        return results[wanted["producerTask"]].parameters[wanted["outputParameterKey"]]

    def _artifact(self, source: dict[str, Any], artifacts: dict[str, str], results: dict[str, Task]) -> str:
        if "componentInputArtifact" in source:
            return artifacts[source["componentInputArtifact"]]
        wanted = source["taskOutputArtifact"]
        return results[wanted["producerTask"]].artifacts[wanted["outputArtifactKey"]]


def _artifact(declared: dict[str, Any], name: str, uri: str) -> dict[str, Any]:
    return {"artifacts": [{"name": name, "type": declared["artifactType"], "uri": uri, "metadata": {}}]}


def _in_order(tasks: dict[str, Any]) -> Iterator[str]:
    """By what they need, and by name among those that need nothing more."""
    waiting = dict(sorted(tasks.items()))
    done: set[str] = set()
    while waiting:
        name = next(name for name, task in waiting.items() if set(task.get("dependentTasks", [])) <= done)
        done.add(name)
        del waiting[name]
        yield name


@dataclass
class Processes:
    """Each step as a process with a home of its own, which is gone when it ends: pods without containers."""

    folder: Path
    code: Path
    config_maps: dict[str, dict[str, str]]
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    running: "subprocess.Popen[str] | None" = None

    @property
    def root(self) -> str:
        return str(self.folder / "artifacts")

    def run(self, pod: Pod) -> tuple[int, str]:
        with tempfile.TemporaryDirectory(prefix=f"pod-{pod.step}-") as home:
            environment = {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": home,
                "TMPDIR": home,
                "MLOPS_HOME": f"{home}/mlops",
                "MLOPS_ROOT": str(self.code),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "BENTOML_DO_NOT_TRACK": "True",
                "PYTHONPATH": str(LAUNCHER.parents[1]),
                **pod.environment(self.config_maps, self.secrets),
                **self.more,
            }
            self.running = subprocess.Popen(
                [sys.executable, LAUNCHER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=home,
                text=True,
                start_new_session=True,
            )
            log, _ = self.running.communicate(json.dumps(pod.told), timeout=240)
            return self.running.returncode, log

    def read(self, place: str) -> str | None:
        path = Path(place)
        return path.read_text() if path.is_file() else None

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
