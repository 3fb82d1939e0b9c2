"""What runs on GitHub: held to the rules by which a workflow can do no more than its job, and by the linters there are.

None of these workflows can run here; what a linter and these rules cannot see shows on GitHub alone.
"""

import importlib.resources
import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yaml"))
BIN = Path(sys.executable).parent
PINNED = re.compile(r"uses: (?P<action>[\w./-]+)@(?P<sha>[0-9a-f]{40}) # v\d+(\.\d+){0,2}$", re.MULTILINE)
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # `on` must stay a word


def tool(name: str) -> str:
    if not (BIN / name).is_file():
        pytest.skip(f"{name} is not installed beside {sys.executable}; make install brings it")
    return str(BIN / name)


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request) -> Path:
    return request.param


def test_the_workflows_are_those_the_pages_name():
    assert {"test", "e2e", "train-and-release", "promote", "images"} <= {path.stem for path in WORKFLOWS}


def test_nothing_is_permitted_but_what_a_job_needs(workflow):
    document = read(workflow)
    assert document["permissions"] == {}, "nothing by default"
    for name, job in document["jobs"].items():
        if "uses" in job:
            continue
        assert isinstance(job.get("permissions"), dict), f"{name} says what it needs"
        assert int(job["timeout-minutes"]) <= 360, f"{name} ends"


def test_every_workflow_that_changes_something_runs_one_at_a_time(workflow):
    document = read(workflow)
    for name, job in document["jobs"].items():
        writes = any(level == "write" for level in job.get("permissions", {}).values())
        assert not writes or "concurrency" in document or "concurrency" in job, f"{name} may run twice at once"


def test_actions_are_pinned_by_commit_with_their_version_beside_it(workflow):
    for line in workflow.read_text(encoding="utf-8").splitlines():
        if re.search(r"\buses: ", line) and "uses: ./" not in line:
            assert PINNED.search(line), line.strip()


def test_one_action_has_one_version():
    found: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for match in PINNED.finditer(path.read_text(encoding="utf-8")):
            found.setdefault(match["action"], set()).add(match["sha"])
    assert {action: shas for action, shas in found.items() if len(shas) > 1} == {}


def test_a_checkout_leaves_no_token_behind(workflow):
    for name, job in read(workflow)["jobs"].items():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step.get("with", {}).get("persist-credentials") == "false", name


def test_nothing_from_outside_is_pasted_into_a_script(workflow):
    for name, job in read(workflow)["jobs"].items():
        for step in job.get("steps", []):
            assert not EXPRESSION.search(step.get("run", "")), f"{name}: hand it over by env"


def test_a_pull_request_s_own_code_never_meets_a_secret(workflow):
    document = read(workflow)
    assert "pull_request_target" not in document["on"]
    if "pull_request" in document["on"]:
        for name, job in document["jobs"].items():
            if "pull_request'" in job.get("if", "") and "!=" in job["if"]:
                continue  # a job for the other events
            assert "secrets." not in json.dumps(job), name


def test_what_a_workflow_starts_is_there(workflow):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for job in read(workflow)["jobs"].values():
        for script in (step.get("run", "") for step in job.get("steps", [])):
            assert set(re.findall(r"\bmake ([a-z-]+)", script)) <= targets
            for program in re.findall(r"(?:^|\s)(\.ci/\w+)", script):
                assert os.access(ROOT / program, os.X_OK), program


@pytest.mark.parametrize("file", ["bento/Dockerfile", "pipelines/Dockerfile"])
def test_images_are_built_from_files_that_are_there(file):
    assert file in (GITHUB / "workflows" / "images.yaml").read_text(encoding="utf-8")
    assert (ROOT / file).is_file()


def test_flux_tells_the_workflow_what_it_listens_for():
    told = ROOT / "clusters" / "components" / "promotion" / "alert.yaml"
    if not told.is_file():
        pytest.skip("clusters/ has no promotion")
    condition = read(GITHUB / "workflows" / "promote.yaml")["jobs"]["promote"]["if"]
    alert = read(told)["spec"]
    asked = set(re.findall(r"client_payload\.metadata\.(\w+)", condition))
    assert asked <= {*alert["eventMetadata"], "revision"}
    assert f"involvedObject.kind == '{alert['eventSources'][0]['kind']}'" in condition
    assert f"severity == '{alert['eventSeverity']}'" in condition


# --- linters -----------------------------------------------------------------------------------------------


def test_actionlint_finds_nothing():
    done = run(tool("actionlint"), "-no-color", *map(str, WORKFLOWS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_no_security_problem():
    done = run(tool("zizmor"), "--offline", "--no-progress", "--color=never", str(GITHUB))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linters_do_find_what_is_wrong(tmp_path):
    bad = tmp_path / ".github" / "workflows" / "bad.yaml"
    bad.parent.mkdir(parents=True)
    bad.write_text(
        "on: issues\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: echo ${{ github.event.issue.title }} ${{ nothing.there }}\n"
    )
    assert run(tool("actionlint"), "-no-color", str(bad)).returncode != 0
    assert run(tool("zizmor"), "--offline", "--no-progress", str(bad)).returncode != 0


@pytest.mark.parametrize(
    ("schema", "files", "right", "wrong"),
    [
        ("vendor.github-workflows", WORKFLOWS, "jobs:", "job:"),
        ("vendor.renovate", [GITHUB / "renovate.json"], '"prConcurrentLimit": 6', '"prConcurrentLimit": "six"'),
    ],
    ids=["workflows", "renovate"],
)
def test_each_file_is_what_its_schema_allows(schema, files, right, wrong, tmp_path):
    done = run(tool("check-jsonschema"), "--builtin-schema", schema, *map(str, files))
    assert done.returncode == 0, done.stdout
    broken = tmp_path / files[0].name
    broken.write_text(files[0].read_text(encoding="utf-8").replace(right, wrong))
    assert run(tool("check-jsonschema"), "--builtin-schema", schema, str(broken)).returncode != 0


def test_renovate_knows_every_key():
    """Its schema allows unknown ones, and Renovate leaves them out without a word."""
    vendored = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "renovate.json"
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    config = json.loads((GITHUB / "renovate.json").read_text(encoding="utf-8"))
    known = {*schema["properties"], "$schema"}
    assert set(config) <= known
    parts = schema["definitions"]["packageRules"]["items"]["allOf"]
    rules = {key for part in parts for key in part.get("properties", {})}
    assert {key for rule in config["packageRules"] for key in rule} <= rules


# --- Renovate ----------------------------------------------------------------------------------------------


def group_of(package: str, manager: str = "") -> str | None:
    """The last rule that names the package has it, as Renovate's rules go."""
    named = None
    for rule in json.loads((GITHUB / "renovate.json").read_text(encoding="utf-8"))["packageRules"]:
        patterns = rule.get("matchPackageNames", [])
        if manager not in rule.get("matchManagers", [manager]):
            continue
        allowed = [p for p in patterns if not p.startswith("!")]
        refused = [p[1:] for p in patterns if p.startswith("!")]
        if (not allowed or any(_fits(package, p) for p in allowed)) and not any(_fits(package, p) for p in refused):
            named = rule.get("groupName", named)
    return named


def _fits(package: str, pattern: str) -> bool:
    if pattern.startswith("/"):
        return re.search(pattern[1:-1], package) is not None
    return fnmatch(package, pattern)


@pytest.mark.parametrize(
    ("group", "packages"),
    [
        ("Kubeflow Pipelines", [("kfp", "pep621"), ("kfp-kubernetes", "pep621"), ("kubeflow/pipelines", "flux")]),
        ("MLflow", [("mlflow", "pep621"), ("ghcr.io/mlflow/mlflow", "flux"), ("mlflow/mlflow", "flux")]),
        (
            "Flux",
            [
                ("ghcr.io/controlplaneio-fluxcd/charts/flux-operator", "flux"),
                ("ghcr.io/controlplaneio-fluxcd/charts/flux-instance", "flux"),
            ],
        ),
        ("Python", [("pandas", "pep621"), ("pydantic", "pip-compile")]),
        ("infrastructure", [("cert-manager", "flux")]),
        ("actions and base images", [("actions/checkout", "github-actions"), ("python", "dockerfile")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_belongs_together_is_updated_together(group, packages):
    assert {group_of(*package) for package in packages} == {group}


def test_nothing_is_taken_on_the_day_it_comes_out():
    assert json.loads((GITHUB / "renovate.json").read_text(encoding="utf-8"))["minimumReleaseAge"] == "3 days"


@pytest.mark.parametrize("lock", ["requirements.lock", "pulumi/requirements.lock"])
def test_the_locks_say_how_they_are_made_in_a_form_that_renovate_takes(lock):
    first, second = (ROOT / lock).read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("#")
    words = second.removeprefix("#    ").split()
    assert words[:3] == ["uv", "pip", "compile"]
    assert "pyproject.toml" in words
    valued = [word for word in words if word.startswith(("--python-version", "--output-file"))]
    assert all("=" in word for word in valued), "Renovate wants the value behind an equals sign"


# --- code owners -------------------------------------------------------------------------------------------


def owners(path: str) -> list[str]:
    found: list[str] = []
    for line in (GITHUB / "CODEOWNERS").read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, *names = line.split()
        expression = re.escape(pattern.strip("/")).replace(r"\*", "[^/]*")
        if pattern == "*" or re.match(rf"{expression}/", path):
            found = names
    return found


def test_production_and_the_platform_have_owners_of_their_own():
    reviewers, engineers = ["@your-org/model-reviewers"], ["@your-org/platform-engineers"]
    assert owners("apps/flight-delays/production/release.yaml") == reviewers
    assert owners("apps/flight-delays/usecase.yaml") == ["@your-org/data-scientists"]
    for path in ("apps/components/release/kustomization.yaml", "clusters/staging/platform.yaml"):
        assert owners(path) == engineers
    assert owners("infrastructure/README.md") == engineers
    assert set(owners(".github/workflows/promote.yaml")) == {*reviewers, *engineers}
