"""The demo's five vendors: how each is simulated, and what the environment and the mapping files say of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import syncbroker
from syncbroker.demo.world import World

RATE = "5000/1s"
"""What every simulator allows; the example mappings keep to what the vendors' plans allow."""

POLLED = {"crm": "1s"}
"""How often a system is asked for changes, where an act needs it oftener than a company would."""


class Vendor(NamedTuple):
    """One simulated system: its kind, what the environment says of it, and which of that are its credentials."""

    kind: str
    url: str
    environment: Mapping[str, str]
    credentials: Mapping[str, str]
    options: Mapping[str, Any] = {}
    webhook: str = ""


# None of these is a secret: they open simulators on this machine, and nothing else.
VENDORS: Mapping[str, Vendor] = {
    "crm": Vendor(
        "hubspot",
        "HUBSPOT_URL",
        {"HUBSPOT_TOKEN": "pat-demo-0001", "HUBSPOT_WEBHOOK_SECRET": "demo-hubspot-client-secret"},
        {"access_token": "HUBSPOT_TOKEN", "webhook_secret": "HUBSPOT_WEBHOOK_SECRET"},
        webhook="{url}/webhooks/crm",
    ),
    "marketing": Vendor(
        "mailchimp",
        "MAILCHIMP_URL",
        {
            "MAILCHIMP_KEY": "demo0123456789-us21",
            "MAILCHIMP_WEBHOOK_SECRET": "demo-mailchimp-path",
            "MAILCHIMP_LIST": "demo",
        },
        {"api_key": "MAILCHIMP_KEY"},
        {"list_id": "demo"},
        webhook="{url}/webhooks/marketing/demo-mailchimp-path",
    ),
    "billing": Vendor(
        "stripe",
        "STRIPE_URL",
        {"STRIPE_KEY": "sk_test_demo0123456789", "STRIPE_WEBHOOK_SECRET": "whsec_demo0123456789"},
        {"api_key": "STRIPE_KEY", "webhook_secret": "STRIPE_WEBHOOK_SECRET"},
        webhook="{url}/webhooks/billing",
    ),
    "support": Vendor(
        "zendesk",
        "ZENDESK_URL",
        {
            "ZENDESK_EMAIL": "broker@demo.example",
            "ZENDESK_TOKEN": "demo-zendesk-token",
            "ZENDESK_WEBHOOK_SECRET": "demo-zendesk-signing-secret",
        },
        {"email": "ZENDESK_EMAIL", "api_token": "ZENDESK_TOKEN", "webhook_secret": "ZENDESK_WEBHOOK_SECRET"},
        webhook="{url}/webhooks/support",
    ),
    "mail": Vendor(
        "sendgrid",
        "SENDGRID_URL",
        {"SENDGRID_KEY": "SG.demo.0123456789"},
        {"api_key": "SENDGRID_KEY"},
        {"rate_limit": 1_000_000},
    ),
}


def example_mappings() -> Path:
    """Inside the package in an installation, beside it in a checkout."""
    package = Path(syncbroker.__file__).parent
    inside = package / "example_mappings"
    return inside if inside.is_dir() else package.parent / "mappings"


def write_mappings(target: Path) -> None:
    """The example mappings, with `RATE` and `POLLED` in place of what the vendors' plans allow."""
    shutil.copytree(example_mappings(), target)
    path = target / "systems.yaml"
    text = re.sub(r"limits: \{rate: [^,}]+", f"limits: {{rate: {RATE}", path.read_text())
    for name, every in POLLED.items():
        text = re.sub(rf"(?ms)(^  {name}:$.*?pull: \{{every: )[^}}]+", rf"\g<1>{every}", text, count=1)
    path.write_text(text)


def write_config(folder: Path, world: World) -> Path:
    """What `python -m syncbroker.sdk.simulator` wants: a CONFIG.json, and beside it a file of records per system."""
    simulators = []
    for name, vendor in VENDORS.items():
        data = folder / f"{name}.json"
        data.write_bytes(msgspec.json.encode(world.systems[name]))
        simulators.append(
            {
                "name": name,
                "kind": vendor.kind,
                "credentials": {own: vendor.environment[given] for own, given in vendor.credentials.items()},
                "options": vendor.options,
                "data_file": str(data),
            }
        )
    path = folder / "simulators.json"
    path.write_bytes(msgspec.json.encode({"simulators": simulators}))
    return path


def environment(urls: Mapping[str, str]) -> dict[str, str]:
    """What the mapping files ask the environment for; `urls` of the simulators by system."""
    found: dict[str, str] = {}
    for name, vendor in VENDORS.items():
        found |= {vendor.url: urls[name], **vendor.environment}
    return found
