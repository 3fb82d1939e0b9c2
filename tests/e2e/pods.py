"""Steps of a compiled pipeline as the pods that Kubeflow would make of them, on a real cluster.

Made by us from the compiled pipeline as KFP's driver would: image, command, variables, secrets, size, nodes. In the
place of its launcher's binary the pod runs tests/kfp_launcher.py, with the image's own Python.
"""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster, ClusterError
from tests.kfp_backend import LAUNCHER, Pod

NAMESPACE = "kubeflow"
STEP_SECONDS = 300


@dataclass
class Pods:
    """A place for tests.kfp_backend: `bucket` is where the S3 server of `root` keeps its files."""

    cluster: Cluster
    root: str
    bucket: Path
    number: int = 0

    def prepare(self) -> None:
        """What every step's pod mounts."""
        launcher = {"kfp_launcher.py": LAUNCHER.read_text(encoding="utf-8")}
        self.cluster.apply(_config_map("launcher", launcher))

    def run(self, pod: Pod) -> tuple[int, str]:
        self.number += 1
        name = f"{pod.step}-{self.number}"
        self.cluster.apply(_config_map(f"told-{name}", {"told.json": json.dumps(pod.told)}), manifest(pod, name))
        phase = self._phase_at_end(name)
        log = self.cluster.kubectl("logs", name, "-n", NAMESPACE)
        return (0 if phase == "Succeeded" else 1), log

    def read(self, place: str) -> str | None:
        path = self.bucket.parent / place.removeprefix("s3://")
        return path.read_text() if path.is_file() else None

    def _phase_at_end(self, name: str) -> str:
        deadline = time.monotonic() + STEP_SECONDS
        while time.monotonic() < deadline:
            found = self.cluster.get("pod", name, NAMESPACE)
            phase: str = found["status"].get("phase", "")
            if phase in ("Succeeded", "Failed"):
                return phase
            time.sleep(0.3)
        raise ClusterError(f"pod {name} did not end in {STEP_SECONDS} s: {found['status']}")


def manifest(pod: Pod, name: str) -> dict[str, Any]:
    """The Pod, field by field as KFP's driver reads the platform spec."""
    platform = pod.platform
    secure = platform.get("securityContext", {})
    volumes, mounts = _volumes(platform)
    scratch = ("tmp", "s3")
    told = {
        "name": "told",
        "projected": {"sources": [{"configMap": {"name": each}} for each in ("launcher", f"told-{name}")]},
    }
    container = {
        "name": "main",
        "image": pod.image,
        "command": ["sh", "-c", "python3 /kfp/kfp_launcher.py < /kfp/told.json"],
        "env": [*({"name": k, "value": v} for k, v in pod.variables.items()), *_environment(platform)],
        "resources": _resources(pod.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsUser": int(secure["runAsUser"]),
            "runAsGroup": int(secure["runAsGroup"]),
            "runAsNonRoot": secure["runAsNonRoot"],
        },
        "volumeMounts": [
            {"name": "told", "mountPath": "/kfp"},
            *({"name": each, "mountPath": f"/{each}"} for each in scratch),
            *mounts,
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": platform["podMetadata"]["labels"]},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(platform["activeDeadlineSeconds"]),
            "nodeSelector": platform.get("nodeSelector", {}).get("labels", {}),
            "tolerations": [_toleration(each) for each in platform.get("tolerations", [])],
            "automountServiceAccountToken": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [told, *({"name": each, "emptyDir": {}} for each in scratch), *volumes],
        },
    }


def _environment(platform: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for part, name, key, kind in (
        ("configMapAsEnv", "configMapName", "configMapKey", "configMapKeyRef"),
        ("secretAsEnv", "secretName", "secretKey", "secretKeyRef"),
    ):
        for entry in platform.get(part, []):
            for pair in entry["keyToEnv"]:
                reference = {"name": entry[name], "key": pair[key], "optional": entry.get("optional", False)}
                found.append({"name": pair["envVar"], "valueFrom": {kind: reference}})
    return found


def _volumes(platform: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes, mounts = [], []
    for entry in platform.get("secretAsVolume", []):
        secret = {"secretName": entry["secretName"], "optional": entry.get("optional", False)}
        volumes.append({"name": entry["secretName"], "secret": secret})
        mounts.append({"name": entry["secretName"], "mountPath": entry["mountPath"], "readOnly": True})
    return volumes, mounts


def _resources(asked: dict[str, Any]) -> dict[str, Any]:
    requests = {"cpu": asked["resourceCpuRequest"], "memory": asked["resourceMemoryRequest"]}
    return {"requests": requests, "limits": {"memory": asked["resourceMemoryLimit"]}}


def _toleration(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("key", "operator", "value", "effect") if key in entry}


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": data,
    }


def logs_of_job(cluster: Cluster, name: str) -> str:
    """What the pods of a Job said."""
    try:
        return cluster.kubectl("logs", f"job/{name}", "-n", NAMESPACE)
    except (ClusterError, subprocess.SubprocessError) as error:
        return str(error)
