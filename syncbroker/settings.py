"""Everything the environment may say, read once. Each setting is a `SYNCBROKER_` variable of the same name.

Credentials are not here: mapping files name the variables that hold them.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from syncbroker.errors import BadSetting


class Settings(BaseSettings):
    """Frozen. Lengths of time in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="SYNCBROKER_", frozen=True, extra="ignore")

    database_url: str = Field("sqlite:///syncbroker.db", description="the store, as an SQLAlchemy URL")
    mappings: Path = Field(Path("mappings"), description="the folder of mapping files")
    redis_url: str = Field(
        "",
        pattern=r"^$|^(redis|rediss|unix)://",
        description="where processes tell each other of work, and share rate budgets; none: all is in one process",
    )
    host: str = Field("127.0.0.1", description="the address that serve listens on")
    port: int = Field(8321, ge=0, le=65535, description="the port that serve listens on; 0 takes a free one")
    public_url: str = Field("", description="scheme and host under which vendors reach serve; what they sign")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="how much is logged")
    max_delivery: int = Field(1_048_576, ge=1024, description="the largest webhook body that is taken")
    max_waiting: int = Field(
        100_000, ge=2, description="how many deliveries may wait to be dealt with, half of them of one system"
    )
    timeout: float = Field(30.0, gt=0, le=600, description="how long one call to a vendor may take")
    tick: float = Field(
        1.0, gt=0, le=60, description="how often serve looks for work that no message announced"
    )


def read_settings() -> Settings:
    """The settings of this process. BadSetting names each variable that cannot be used, never its value."""
    try:
        return Settings()  # type: ignore[call-arg]  # pydantic fills every field from the environment or its default
    except ValidationError as error:
        wrong = "; ".join(
            f"SYNCBROKER_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        raise BadSetting(wrong, hint="see docs/operations.md for the settings") from None
