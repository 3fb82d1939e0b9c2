"""How long predictions and labels are kept: what the monitor does now and then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.predictions.store.rows import Expired
from pipelines.usecase import UseCase

if TYPE_CHECKING:
    from pipelines.predictions.store.store import Store

PENDING_FOR = timedelta(days=7)


def let_go(store: Store, usecase: UseCase, now: datetime) -> Expired:
    """Delete what is older than `monitoring.store.retention`, and week-old labels whose prediction never came.

    A bounded part of it at a time; `is_complete` says whether to call it again soon.
    """
    return store.expire(usecase.name, now - usecase.monitoring.store.retention, now - PENDING_FOR)
