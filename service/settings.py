"""Settings, read from the environment with the prefix PRICEBANDIT_."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bandits import Rules

_RULES = Rules()  # the policy's own defaults


class Settings(BaseSettings):
    """Everything that can be set; each field's description says what it means and its unit."""

    # a price drawn with an infinite optimism or foresight has no probability
    model_config = SettingsConfigDict(env_prefix="PRICEBANDIT_", frozen=True, allow_inf_nan=False)

    home: Path = Field(
        Path("pricebandit-home"), description="Folder of all state: log, embeddings, snapshots."
    )
    embeddings: Path | None = Field(
        None, description="Folder of the embedding cache, to share it. Unset: in the home folder."
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the log, e.g. `postgresql://user@host/db`. "
        "Unset: SQLite in the home folder.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Accepted bearer keys, separated by commas. Unset: only loopback is served."
    )
    encoder: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="Sentence-transformers model: a hub name or a local folder.",
    )
    adapter: str | None = Field(None, description="Folder of a PEFT adapter for the encoder.")
    device: str | None = Field(
        None, description="Torch device of encoder and head, e.g. `cuda`. Unset: CUDA if present."
    )
    max_wait_ms: float = Field(
        1.0, ge=0, description="How long a request waits for others to share its batch, ms."
    )
    max_batch: int = Field(
        10_000, ge=1, description="Rows after which a batch of coalesced requests is closed."
    )
    queue_rows: int = Field(
        100_000, ge=1, description="Rows waiting above which requests get 503 with Retry-After."
    )
    max_body_mb: float = Field(64.0, gt=0, description="Largest request body, MB; above it 413.")
    rate_limit: float = Field(
        0.0, ge=0, description="Items per second for one caller, above it 429; 0 sets no limit."
    )
    snapshot_every: int = Field(
        100_000, ge=1, description="Outcomes after which a snapshot of the model is written."
    )
    arms: int = Field(_RULES.arms, ge=2, le=128, description="Prices on a ladder.")
    rule: Literal["softmax", "inverse_gap", "thompson"] = Field(
        _RULES.rule, description="Choice rule that turns scores into propensities."
    )
    optimism: float = Field(
        _RULES.optimism,
        description="A price is scored by demand so many deviations up; below 0: averse to risk.",
    )
    foresight_days: float = Field(
        _RULES.foresight_days,
        ge=0,
        description="Days of later sales that a price is chosen to learn for; 0: none.",
    )
    temperature: float = Field(
        _RULES.temperature,
        gt=0,
        description="Relative shortfall at which a price is e times rarer.",
    )
    gamma: float = Field(
        _RULES.gamma, gt=0, description="Weight of the gap in inverse-gap weighting."
    )
    floor: float = Field(
        _RULES.floor, gt=0, le=1, description="Share of draws spread evenly over the ladder."
    )
    budget: float = Field(
        _RULES.budget,
        gt=0,
        le=1,
        description="Share of a price's expected gain that exploring may cost; 1: no bound.",
    )
    horizon_days: int = Field(
        30, ge=1, description="Days that stock without a last day is planned over."
    )
    half_life_days: float | None = Field(
        None, gt=0, description="Days after which an outcome counts half in the head. Unset: never."
    )

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(key.strip() for key in value.split(",") if key.strip())
        return value

    @cached_property
    def url(self) -> str:
        """SQLAlchemy URL of the log."""
        if self.database_url is None:
            from sqlalchemy import URL

            # a folder's name may have signs in it that mean something in a URL
            file = str(self.home / "log.sqlite3")
            return URL.create("sqlite", database=file).render_as_string()
        # bare postgresql:// would ask for psycopg2, which is not what this project installs
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1).replace(
            "postgres://", "postgresql+psycopg://", 1
        )

    @property
    def holds_a_log(self) -> bool:
        """Whether there is a log to read; what lies in another database is not asked here."""
        return self.database_url is not None or (self.home / "log.sqlite3").exists()

    @cached_property
    def torch_device(self) -> str:
        """The device that was set, else CUDA where there is one."""
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def rules(self) -> Rules:
        """The policy's share of the settings."""
        return Rules(
            arms=self.arms,
            optimism=self.optimism,
            foresight_days=self.foresight_days,
            rule=self.rule,
            temperature=self.temperature,
            gamma=self.gamma,
            floor=self.floor,
            budget=self.budget,
            half_life_days=self.half_life_days,
        )


class BadSettings(ValueError):
    """Settings that cannot be: for each a line of variable, value and what is allowed."""


def read_settings(**given: object) -> Settings:
    """Settings of the environment, but for what is given and not None.

    Raises:
        BadSettings: a value is none that is allowed.
    """
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"PRICEBANDIT_{'_'.join(map(str, e['loc'])).upper()} is {e['input']!r}: {e['msg']}"
            for e in error.errors()
        ]
        raise BadSettings("\n".join(lines)) from error
