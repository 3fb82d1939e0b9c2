"""What KFP's launcher does in a step's pod, for tests: it cannot be had here, so this stands in for it.

It brings the input artifacts out of the bucket to where the SDK looks for them, puts the executor input in the place
of `{{$}}`, runs the component's own command, and takes what that has made to the bucket. It runs in the pipeline image
and imports nothing of the project.

    python kfp_launcher.py < {"executor_input": …, "command": […], "args": […], "results": "s3://…/results.json"}
"""

import json
import subprocess
import sys
from pathlib import Path

PREFIX, MOUNT = "s3://", "/s3/"


def local(uri):
    return MOUNT + uri[len(PREFIX) :] if uri.startswith(PREFIX) else uri


def artifacts(side):
    return [artifact for listed in side.get("artifacts", {}).values() for artifact in listed["artifacts"]]


def bucket():
    import s3fs

    return s3fs.S3FileSystem(config_kwargs={"read_timeout": 20, "retries": {"max_attempts": 5}})


def main(told):
    given = told["executor_input"]
    for artifact in artifacts(given["inputs"]):
        if artifact["uri"].startswith(PREFIX):
            fetch(artifact["uri"])
    outputs = given["outputs"]
    made = [outputs["outputFile"], *(p["outputFile"] for p in outputs.get("parameters", {}).values())]
    for path in [*made, *(local(artifact["uri"]) for artifact in artifacts(outputs))]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(given)
    command = [part.replace("{{$}}", text) for part in (*told["command"], *told["args"])]
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        return status
    results = {"parameters": parameters(outputs), "metadata": metadata(outputs)}
    for artifact in artifacts(outputs):
        if artifact["uri"].startswith(PREFIX):
            send(artifact["uri"])
    keep(told["results"], json.dumps(results))
    return 0


def parameters(outputs):
    files = {name: Path(each["outputFile"]) for name, each in outputs.get("parameters", {}).items()}
    written = {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}
    return {**written, **metadata(outputs).get("parameterValues", {})}


def metadata(outputs):
    path = Path(outputs["outputFile"])
    return json.loads(path.read_text()) if path.exists() else {}


def fetch(uri):
    found, store = local(uri), bucket()
    path = uri[len(PREFIX) :]
    if store.isfile(path):
        Path(found).parent.mkdir(parents=True, exist_ok=True)
        store.get_file(path, found)
        return
    for name in store.find(path):
        target = Path(found) / name[len(path) + 1 :]
        target.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(name, str(target))


def send(uri):
    """What a step has not made is not sent: the step after it then finds that its input is missing."""
    made, store = Path(local(uri)), bucket()
    files = [made] if made.is_file() else [path for path in made.rglob("*") if path.is_file()]
    for path in files:
        name = uri[len(PREFIX) :] + ("" if path == made else f"/{path.relative_to(made).as_posix()}")
        store.put_file(str(path), name)


def keep(place, text):
    if place.startswith(PREFIX):
        bucket().pipe_file(place[len(PREFIX) :], text.encode())
    else:
        Path(place).write_text(text)


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin)))
