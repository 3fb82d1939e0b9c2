"""One BentoML service for every use case: the app of `bento.app`, mounted beside BentoML's probes and metrics.

A Bento's `src/` holds `service.py` (made by `entry_point`), this package and the model folder.
"""

import gc
from pathlib import Path
from typing import Any

from bento.app import DEFAULT_BODY_LIMIT, ModelApp
from bento.predictor import Predictor
from bento.recording.recorder import Recorder, RecordingOptions

MODEL_FOLDER = "model"


def entry_point(name: str, *, timeout_seconds: float) -> str:
    """The text of a Bento's service.py."""
    return (
        "from pathlib import Path\n\n"
        "from bento.service import model_service\n\n"
        f"Service = model_service({name!r}, Path(__file__).parent, timeout_seconds={timeout_seconds:g})\n"
    )


def model_service(name: str, source: Path, *, timeout_seconds: float = 10, body_limit: int = DEFAULT_BODY_LIMIT) -> Any:
    """The BentoML service of the model folder beside `source`'s service.py.

    BentoML keeps every request's context for the length of the timeout, writes an access log and makes spans that
    nobody reads; a short timeout and no log or spans halve the cost of a request. Its metrics stay.
    """
    import bentoml

    api = ModelApp(body_limit)

    @bentoml.service(
        name=name,
        workers=1,
        traffic={"timeout": timeout_seconds, "max_concurrency": 256},
        logging={"access": {"enabled": False}},
        tracing={"excluded_urls": "/.*"},
    )
    @bentoml.asgi_app(api.app, path="/")
    class ModelService:
        """Loads the model when a worker starts; a model that cannot load keeps the worker from getting ready."""

        @staticmethod
        def load() -> None:
            """Load the model, once; a server calls it before it starts, to say plainly what is wrong."""
            if api.predictor is None:
                api.predictor = Predictor.load(source / MODEL_FOLDER)

        def __init__(self) -> None:
            self.load()
            api.recorder = _start_recorder(api.predictor)
            # What is loaded now stays for ever: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 50, 1000)

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        def stop(self) -> None:
            """The last predictions go to the monitor, or stay on disk."""
            if api.recorder is not None:
                api.recorder.close()

    return ModelService


def _start_recorder(predictor: Predictor | None) -> Recorder | None:
    """None where the platform names no monitor."""
    options = RecordingOptions.load()
    if options is None or predictor is None:
        return None
    recorder = Recorder(options, predictor.segment_header())
    recorder.start()
    return recorder
