"""Credentials kept in the store, encrypted (Fernet: AES-128-CBC and HMAC-SHA256) under keys that are not in it.

Whoever has the database alone has none of them. Several keys may be there at once: the newest encrypts, all decrypt,
so a key is replaced by putting a new one before the old, rotating, and taking the old one away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import select

from syncbroker.core.types import Micros
from syncbroker.errors import BadSetting
from syncbroker.store import tables
from syncbroker.store.database import Tx

MAX_BYTES = 64 * 1024
"""Of one credential, or of a file that holds one."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def new_key() -> str:
    return Fernet.generate_key().decode()


def parse_keys(text: str) -> list[bytes]:
    """Keys between commas or blanks, newest first. BadSetting never shows one."""
    keys = [part.encode() for part in re.split(r"[,\s]+", text) if part]
    for place, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            raise BadSetting(
                f"key {place} of SYNCBROKER_KEYS is none", hint="make one with: syncbroker keys new"
            ) from None
    return keys


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadSetting(
            "that is no name of a variable",
            hint="letters, digits and _, as in mapping files: ${HUBSPOT_TOKEN}",
        )


def put(tx: Tx, keys: Sequence[bytes], name: str, value: str, at: Micros) -> None:
    """Keep a credential, in the place of an older one of the name."""
    row = (name, _vault(keys).encrypt(value.encode()).decode(), at)
    tx.insert(tables.credentials, ["name", "token", "changed"], [row], conflict="replace")


def listed(tx: Tx) -> list[tuple[str, Micros]]:
    """(name, when it was set) of each."""
    c = tables.credentials.c
    return [(row.name, row.changed) for row in tx.run(select(c.name, c.changed).order_by(c.name))]


def remove(tx: Tx, name: str) -> bool:
    """Whether there was one."""
    c = tables.credentials
    return bool(tx.run(c.delete().where(c.c.name == name)).rowcount)


def get(tx: Tx, keys: Sequence[bytes], name: str) -> str | None:
    """The credential in the clear, None when there is none of the name. BadSetting when no key opens it."""
    row = tx.run(select(tables.credentials.c.token).where(tables.credentials.c.name == name)).first()
    return None if row is None else _opened(_vault(keys, name), name, row[0])


def rotate(tx: Tx, keys: Sequence[bytes]) -> int:
    """Encrypt all under the newest key. How many there are."""
    rows = tx.run(select(tables.credentials)).all()
    vault = _vault(keys)
    made = [(vault.encrypt(_opened(vault, row.name, row.token).encode()).decode(), row.name) for row in rows]
    tx.update(tables.credentials, ["name"], ["token"], made)
    return len(made)


def _opened(vault: MultiFernet, name: str, token: str) -> str:
    try:
        return vault.decrypt(token).decode()
    except (InvalidToken, TypeError, UnicodeDecodeError):
        raise BadSetting(
            f"the stored credential {name} opens with none of the keys",
            hint="put the key that it was set under into SYNCBROKER_KEYS, or set it again",
        ) from None


def _vault(keys: Sequence[bytes], name: str = "") -> MultiFernet:
    if not keys:
        what = (
            f"the credential {name} is in the store, encrypted" if name else "credentials are kept encrypted"
        )
        raise BadSetting(
            f"{what}, and SYNCBROKER_KEYS is not set",
            hint="set it to the key that it was stored under; if that is lost, store it again under a new one"
            if name
            else "make a key with: syncbroker keys new, and keep it outside the database",
        )
    return MultiFernet([Fernet(key) for key in keys])
