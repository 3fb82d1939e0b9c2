"""What a model server says of itself, in the file that its supervisor names."""

from typing import Literal

from bento.documents import Document


class ServerState(Document):
    """One server process, and whether it takes requests."""

    KIND = "server-state"

    pid: int
    private_port: int
    state: Literal["standby", "active", "draining"]
