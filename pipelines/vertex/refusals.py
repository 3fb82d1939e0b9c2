"""What Vertex AI's refusals mean, and what to do about each."""

from typing import TYPE_CHECKING, Any

from pipelines.errors import MlopsError
from pipelines.vertex import errors

if TYPE_CHECKING:
    import httpx


KINDS = {
    401: errors.VertexLoginRefused,
    403: errors.VertexNotAllowed,
    404: errors.VertexNotFound,
    409: errors.VertexConflict,
    429: errors.VertexQuota,
}
HINTS = {
    401: "the login has run out or is none: log in again",
    404: "are project, region and name in vertex/<environment>.yaml right?",
    409: "somebody changed it at the same time; run this again",
    429: "ask for a higher quota in the console (IAM, Quotas), or try later",
    500: "try again later; status.cloud.google.com tells of outages",
}


def explain(answer: "httpx.Response", method: str, path: str) -> MlopsError:
    """The error of this answer."""
    told = _words(answer)
    status = answer.status_code
    if told["status"] in ("ABORTED", "FAILED_PRECONDITION"):
        status = 409
    what = f"Vertex AI answered {answer.status_code} to {method} {path}: {told['message']}"
    if status >= 500:
        lost = method != "GET" and status != 503
        kind = errors.AnswerLost if lost else errors.VertexUnreachable
        return kind(what, hint=HINTS[500])
    if status == 403:
        return errors.VertexNotAllowed(what, hint=_right_for(told))
    hint = HINTS.get(
        status, "the request is not what the API takes; docs/vertex.md says which version this was made for"
    )
    return KINDS.get(status, errors.VertexRefused)(what, hint=hint)


def seconds_to_wait(answer: "httpx.Response") -> float:
    """What Retry-After asks for, 0 where it asks for nothing."""
    after = answer.headers.get("retry-after", "")
    return float(after) if after.isdigit() else 0.0


def _right_for(told: dict[str, str]) -> str:
    if told["reason"] == "SERVICE_DISABLED":
        return "switch the API on: gcloud services enable aiplatform.googleapis.com"
    if told["reason"] == "IAM_PERMISSION_DENIED" and told["permission"]:
        return f"the login needs {told['permission']}; roles/aiplatform.user has what is used here"
    return "the login needs roles/aiplatform.user, and roles/iam.serviceAccountUser on the account that runs things"


def _words(answer: "httpx.Response") -> dict[str, str]:
    found = {"message": answer.reason_phrase, "status": "", "reason": "", "permission": ""}
    try:
        error: dict[str, Any] = answer.json()["error"]
        found |= {"message": " ".join(error["message"].split()), "status": error.get("status", "")}
        for detail in error.get("details", []):
            found["reason"] = found["reason"] or detail.get("reason", "")
            found["permission"] = found["permission"] or detail.get("metadata", {}).get("permission", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return found
    return found
