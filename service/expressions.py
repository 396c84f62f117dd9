"""Features of past decisions as another embedding space has them.

A decision logs the features of the space it was made in. A head of another space learns from it
all the same: what was read from text is read anew, once, and kept, so that every fold of the log
in that space reads the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import sqlalchemy as sa

from bandits import DIM, VERSION
from bandits.features import expressed
from encoders import market_texts
from service import log, models

if TYPE_CHECKING:
    from service.pricebandit import Pricebandit

_PART = 2_000


def complete(
    bandit: Pricebandit, until: str, progress: Callable[[int, int], None] | None = None
) -> None:
    """Express every decision of another space, up to the one with id `until`, in this one.

    Decisions whose features mean something else, of an earlier version, are left as they are.
    """
    d = log.decisions.c
    since = models.expressed_until(bandit.log, bandit.space)
    if until <= since:
        return
    foreign = (
        d.id > since,
        d.id <= until,
        d.features_of.startswith(f"{VERSION}-"),
        ~d.features_of.startswith(f"{VERSION}-{bandit.space}"),
    )
    with bandit.log.engine.connect() as conn:
        total = conn.scalar(sa.select(sa.func.count()).where(*foreign)) or 0
    done = 0
    while done < total:
        query = sa.select(d.id, d.listing, d.features, d.market).where(*foreign, d.id > since)
        with bandit.log.engine.connect() as conn:
            part = conn.execute(query.order_by(d.id).limit(_PART)).all()
        if not part:
            break
        with bandit.log.transaction() as conn:
            log.insert(conn, log.expressions, _expressed(bandit, part))
            since = part[-1].id
            models.note_expressed(conn, bandit.space, since)
        done += len(part)
        if progress:
            progress(done, total)
    with bandit.log.transaction() as conn:
        models.note_expressed(conn, bandit.space, until)


def _expressed(bandit: Pricebandit, part: Sequence[Any]) -> list[dict[str, Any]]:
    rows = np.array([row.listing for row in part], np.int64)
    features = np.frombuffer(b"".join(row.features for row in part), np.float32)
    markets = market_texts([orjson.loads(row.market) if row.market else None for row in part])
    spoken = np.array([bool(text) for text in markets])
    market = np.zeros((len(part), bandit.encoder.dim), np.float32)
    if spoken.any():
        market[spoken] = bandit.other_texts.embed([text for text in markets if text]).vectors
    new = expressed(
        features.reshape(len(part), DIM),
        bandit.vectors(rows)[0],
        market,
        bandit.catalogue.similarity[rows, 0],
    )
    return [
        {"space": bandit.space, "decision_id": row.id, "features": features.tobytes()}
        for row, features in zip(part, new, strict=True)
    ]
