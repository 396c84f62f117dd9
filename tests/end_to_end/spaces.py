"""Which embedding space each logged decision's features are in, found from the log alone."""

import numpy as np
import orjson
import sqlalchemy as sa

from bandits.features import DIM, MARKET_DIMENSIONS, TEXT, expressed
from encoders import Encoder, market_texts
from service import log, models
from service.pricebandit import listing_texts_of
from service.settings import Settings

READ_FROM_TEXT = slice(TEXT.start, TEXT.stop + MARKET_DIMENSIONS)


def spaces_of(settings: Settings) -> dict[str, str]:
    """decision_id → space, after checking that its features are of the space named, and no other.

    Texts are those that listings have now: listings must not have changed since.
    """
    engine = sa.create_engine(settings.url)
    d, table, m = log.decisions.c, log.listings.c, log.models.c
    with engine.connect() as conn:
        query = sa.select(d.id, d.features, d.features_of, d.market, table.document)
        rows = conn.execute(query.join_from(log.decisions, log.listings, d.listing == table.row))
        rows = rows.all()
        known = conn.execute(sa.select(m.version, m.adapter)).all()
    engine.dispose()
    texts = listing_texts_of([orjson.loads(row.document) for row in rows])
    spoken = market_texts([orjson.loads(row.market) if row.market else None for row in rows])
    logged = np.frombuffer(b"".join(row.features for row in rows), np.float32).reshape(-1, DIM)
    names, place = np.unique([*texts, *spoken], return_inverse=True)
    fits = {}
    for version, adapter in known:
        folder = str(settings.home / models.FOLDER / version) if adapter else None
        vectors = Encoder(settings.encoder, adapter=folder).encode(names.tolist())[place]
        market = np.where(np.array(spoken)[:, None] == "", 0, vectors[len(rows) :])
        unlike = np.full(len(rows), np.nan)
        anew = expressed(logged, vectors[: len(rows)], market.astype(np.float32), unlike)
        # features are multiplied by the curve, which next to nothing is left of at a high price
        off = np.abs(anew - logged)[:, READ_FROM_TEXT].max(axis=1)
        fits[version] = off < 1e-4 * logged[:, 0]
    found = {}
    for i, row in enumerate(rows):
        fitting = [version for version, fit in fits.items() if fit[i]]
        assert fitting == [row.features_of.rpartition("-")[2]], (row.id, fitting)
        found[row.id] = fitting[0]
    return found
