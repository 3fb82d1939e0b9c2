"""A tracking store that is away is found out in seconds, and no variable of the process changes for it."""

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.runs.answering import require_answer
from pipelines.runs.tracking import TrackingUnavailable


def served(status: int) -> HTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    return server


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_server_that_answers_anything_is_there(status):
    server = served(status)
    before = dict(os.environ)
    require_answer(f"http://user:secret@127.0.0.1:{server.server_port}/mlflow/", 5)
    assert dict(os.environ) == before
    server.server_close()


def test_a_server_that_says_that_it_is_down_is_away():
    server = served(503)
    with pytest.raises(TrackingUnavailable, match="answered 503"):
        require_answer(f"http://127.0.0.1:{server.server_port}", 5)
    server.server_close()


def test_a_server_that_takes_the_call_and_says_nothing_is_away_and_its_login_is_not_shown():
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(TrackingUnavailable, match="does not answer") as caught:
        require_answer(f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}", 0.2)
    assert "secret" not in str(caught.value)


def test_a_store_on_this_disk_is_there(tmp_path):
    require_answer(f"sqlite:///{tmp_path / 'mlflow.db'}", 0.001)
