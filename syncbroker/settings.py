"""Everything the environment may say, read once. Each setting is a `SYNCBROKER_` variable of the same name.

Credentials are not here: mapping files name the variables that hold them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from syncbroker.errors import BadSetting
from syncbroker.store.credentials import MAX_BYTES, parse_keys
from syncbroker.store.retention import Keep

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Settings(BaseSettings):
    """Frozen. Lengths of time in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="SYNCBROKER_", frozen=True, extra="ignore")

    database_url: str = Field("sqlite:///syncbroker.db", description="the store, as an SQLAlchemy URL")
    database_url_file: str = Field("", description="a file that holds the store's URL instead")
    keys: SecretStr = Field(
        SecretStr(""), description="keys of the credentials in the store, newest first, with commas between"
    )
    keys_file: str = Field("", description="a file that holds the keys instead, one a line")
    mappings: Path = Field(Path("mappings"), description="the folder of mapping files")
    redis_url: str = Field(
        "",
        pattern=r"^$|^(redis|rediss|unix)://",
        examples=["redis://HOST:6379/0"],
        description="where processes tell each other of work, and share rate budgets; none: all is in one process",
    )
    host: str = Field("127.0.0.1", description="the address that serve listens on")
    port: int = Field(8321, ge=0, le=65535, description="the port that serve listens on; 0 takes a free one")
    public_url: str = Field(
        "",
        pattern=r"^$|^https?://[^/?#\s]+/?$",
        examples=["https://broker.example.com"],
        description="scheme and host under which vendors reach serve; what they sign",
    )
    log_level: str = Field(
        "INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        examples=["DEBUG", "INFO", "WARNING", "ERROR"],
        description="how much is logged",
    )
    max_delivery: int = Field(1_048_576, ge=1024, description="the largest webhook body that is taken")
    max_waiting: int = Field(
        100_000, ge=2, description="how many deliveries may wait to be dealt with, half of them of one system"
    )
    timeout: float = Field(30.0, gt=0, le=600, description="how long one call to a vendor may take")
    allow_private: str = Field(
        "", description="hosts and networks of systems in a private network, with commas between"
    )
    tick: float = Field(
        1.0, gt=0, le=60, description="how often serve looks for work that no message announced"
    )
    metrics: bool = Field(True, description="whether metrics are served at all")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="a port for the metrics alone; 0: on the port of serve, below /metrics"
    )
    metrics_token: str = Field("", repr=False, description="what a scraper must show as a bearer token")
    keep_deliveries: int = Field(14, ge=0, description="days that webhooks which are dealt with are kept")
    keep_runs: int = Field(90, ge=0, description="days that runs without decisions are kept")
    keep_drift: int = Field(90, ge=0, description="days that drift which is in order again is kept")
    keep_reviews: int = Field(365, ge=0, description="days that closed reviews are kept")
    keep_receipts: int = Field(0, ge=0, description="days that receipts of writes are kept; 0: for ever")
    keep_audit: int = Field(0, ge=0, description="days that the audit is kept; 0: for ever")

    def keep(self) -> Keep:
        """For how long history is kept."""
        return Keep(**{name: getattr(self, f"keep_{name}") for name in Keep.__struct_fields__})

    def read_keys(self) -> list[bytes]:
        """The keys of stored credentials, newest first. BadSetting for what is none."""
        return parse_keys(self.keys.get_secret_value())


def _wrong(error: ErrorDetails) -> str:
    """What is wrong, without the value: it may hold a password."""
    field = Settings.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    if error["type"] == "string_pattern_mismatch" and field is not None and field.examples:
        return f"it must be like {' or '.join(map(str, field.examples))}"
    return error["msg"]


def read_settings() -> Settings:
    """The settings of this process. BadSetting names each variable that cannot be used, never its value."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # pydantic fills every field from the environment or its default
    except ValidationError as error:
        wrong = "; ".join(
            f"SYNCBROKER_{'_'.join(map(str, e['loc'])).upper()}: {_wrong(e)}" for e in error.errors()
        )
        raise BadSetting(wrong, hint="see docs/operations.md for the settings") from None
    found: dict[str, object] = {}
    if settings.database_url_file:
        found["database_url"] = read_secret(Path(settings.database_url_file), "SYNCBROKER_DATABASE_URL_FILE")
    if settings.keys_file:
        found["keys"] = SecretStr(read_secret(Path(settings.keys_file), "SYNCBROKER_KEYS_FILE"))
    return settings.model_copy(update=found)


def read_secret(file: Path, variable: str) -> str:
    """The text of a file that a variable names, without the line break at its end. BadSetting names the variable."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) <= MAX_BYTES:
            return raw.decode().rstrip("\r\n")
        what = f"holds more than {MAX_BYTES:,} bytes"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        what = "is no UTF-8 text"
    raise BadSetting(f"the file that {variable} names {what}", hint="name a file that holds the value alone")
