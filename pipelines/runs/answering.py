"""Whether a tracking store answers, asked briefly before MLflow's client asks it with minutes of patience."""

from urllib.parse import urlsplit, urlunsplit

from pipelines.runs.tracking import TrackingUnavailable

PATIENCE_SECONDS = 10.0


def require_answer(tracking_uri: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Find out in a few seconds that a server is away; one on this disk is always there.

    MLflow's own timeouts are variables of the whole process, which a caller that can do without it must not change.

    Raises:
        TrackingUnavailable: no answer within `seconds`, or one that says that the server is down.
    """
    import httpx

    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https"):
        return
    where = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    try:
        # No login is sent and nothing that comes back is believed, so whose certificate it is does not matter here.
        answer = httpx.get(f"{where}/health", timeout=seconds, verify=False)  # noqa: S501
    except httpx.HTTPError as error:
        raise TrackingUnavailable(f"{where} does not answer: {error or type(error).__name__}") from None
    if answer.is_server_error:
        raise TrackingUnavailable(f"{where} answered {answer.status_code}")
