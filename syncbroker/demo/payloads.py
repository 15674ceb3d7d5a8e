"""A view in each vendor's payload shape, as that vendor's simulator loads it: `{object: [records]}`.

The vendor's names for things stand here and in the example mappings, nowhere else in the demo. Every custom field is
part of every record, empty or not: a vendor knows a custom field from the day on which it is set up.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from syncbroker.demo import tables
from syncbroker.demo.truth import DAY
from syncbroker.demo.views import CompanyView, View

OBJECTS = {
    "crm": "contacts",
    "marketing": "members",
    "billing": "customers",
    "support": "users",
    "mail": "contacts",
}
"""Where each system keeps people."""
COMPANY_OBJECTS = {"crm": "companies", "support": "organizations"}

Payload = dict[str, Any]

CRM_CONSENT = {
    "subscribed": "Opted in",
    "never_asked": "Not asked",
    "unsubscribed": "Opted out",
    "bounced": "Bounced",
}
MEMBER_STATUS = {"never_asked": "transactional", "bounced": "cleaned"}
INDUSTRIES = dict(tables.INDUSTRIES)
LOCALES = {"en": "en-US", "de": "de", "fr": "fr", "sv": "sv"}


class Subscription(msgspec.Struct, kw_only=True):
    """One subscription in billing. `amount` in cents a month; `customer` is Stripe's id, of a live customer or not."""

    id: str
    key: str
    customer: str
    plan: str
    amount: int
    status: str
    created: int
    period_end: int


def stamp(seconds: int) -> str:
    """UTC, to the second: `2026-09-30T00:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def day(seconds: int | None) -> str | None:
    return stamp(seconds)[:10] if seconds else None


def people(system: str, views: Iterable[View]) -> list[Payload]:
    """The people of one system, in the order of their ids where the vendor keeps one."""
    shape = {
        "crm": _contact,
        "marketing": _member,
        "billing": _customer,
        "support": _user,
        "mail": _recipient,
    }[system]
    return [shape(view) for view in sorted(views, key=lambda view: view.id)]


def companies(system: str, views: Iterable[CompanyView]) -> list[Payload]:
    """The companies of the CRM or of support."""
    shape = _company if system == "crm" else _organization
    return [shape(view) for view in sorted(views, key=lambda view: view.id)]


def _contact(view: View) -> Payload:
    properties = {
        "email": (view.email or "").strip().lower(),  # HubSpot keeps addresses in lower case
        "firstname": view.first,
        "lastname": view.last,
        "phone": view.phone,
        "company": view.company,
        "jobtitle": view.job_title,
        "address": view.street,
        "city": view.city,
        "zip": view.postcode,
        "country": view.country,
        "hs_language": view.language,
        "lead_source": view.lead_source,
        "marketing_consent": CRM_CONSENT[view.consent] if view.consent else None,
        "interests": ";".join(view.tags) or None,
        "customer_since": day(view.customer_since),
        "lifetime_value": f"{view.lifetime_value / 100:.2f}" if view.lifetime_value else None,
        "vip": "true" if view.vip else "false",
        "customer_notes": view.notes,
        "preferred_contact": view.contact_by,
        "last_seen": None,
    }
    links = [{"id": view.company_id, "type": "contact_to_company"}] if view.company_id else []
    return {
        "id": view.id,
        "properties": properties,
        "createdAt": stamp(view.created),
        "updatedAt": stamp(view.changed),
        "archived": False,
        "associations": {"companies": {"results": links}},
    }


def _company(view: CompanyView) -> Payload:
    properties = {
        "name": view.name,
        "domain": view.domain,
        "website": f"https://{view.domain.lower()}" if view.domain else None,
        "phone": view.phone,
        "address": view.street,
        "city": view.city,
        "zip": view.postcode,
        "country": view.country,
        "industry": INDUSTRIES.get(view.industry, view.industry) if view.industry else None,
        "numberofemployees": str(view.employees) if view.employees else None,
        "lifecyclestage": view.stage.lower() if view.stage else None,
        "description": view.about,
    }
    return {
        "id": view.id,
        "properties": properties,
        "createdAt": stamp(view.created),
        "updatedAt": stamp(view.changed),
        "archived": False,
    }


def _member(view: View) -> Payload:
    consent = view.consent or "never_asked"
    member = {
        "id": view.id,
        "email_address": view.email,
        "status": MEMBER_STATUS.get(consent, consent),
        "merge_fields": {
            "FNAME": view.first or "",
            "LNAME": view.last or "",
            "PHONE": view.phone or "",
            "COMPANY": view.company or "",
            "SOURCE": view.lead_source or "",
        },
        "language": view.language or "",
        "tags": [{"id": 100 + tables.TAGS.index(tag), "name": tag} for tag in view.tags],
        "timestamp_signup": stamp(view.created),
        "last_changed": stamp(view.changed),
    }
    if consent == "subscribed":
        member |= {"timestamp_opt": stamp(view.created), "ip_opt": "192.0.2.44"}
    return member


def _customer(view: View) -> Payload:
    money = f"{view.lifetime_value / 100:.2f} USD" if view.lifetime_value else None
    metadata = {"company": view.company, "customer_since": day(view.customer_since), "lifetime_value": money}
    address = None
    if view.country:
        address = {
            "line1": view.street,
            "line2": None,
            "city": view.city,
            "state": None,
            "postal_code": view.postcode,
            "country": view.country,
        }
    return {
        "id": view.id,
        "object": "customer",
        "name": view.full_name or None,
        "email": view.email,
        "phone": view.phone,
        "address": address,
        "metadata": {name: value for name, value in metadata.items() if value},
        "created": view.created,
    }


def _user(view: View) -> Payload:
    return {
        "id": int(view.id),
        "name": view.full_name,
        "email": view.email,
        "phone": view.phone,
        "role": "end-user",
        "locale": LOCALES[view.language or "en"],  # Zendesk gives everybody one
        "organization_id": int(view.company_id) if view.company_id else None,
        "tags": list(view.tags),
        "notes": view.notes or "",
        "last_login_at": stamp(view.last_seen) if view.last_seen else None,
        "user_fields": {
            "first_name": None,
            "last_name": None,
            "vip": view.vip,
            "preferred_contact": view.contact_by,
            "customer_since": None,
        },
        "created_at": stamp(view.created),
        "updated_at": stamp(view.changed),
    }


def _organization(view: CompanyView) -> Payload:
    return {
        "id": int(view.id),
        "name": view.name,
        "domain_names": [],
        "details": view.about or "",
        "organization_fields": {
            "domain": view.domain,
            "website": None,
            "industry": None,
            "phone": view.phone,
            "country": view.country,
            "employees": view.employees,
        },
        "created_at": stamp(view.created),
        "updated_at": stamp(view.changed),
    }


def _recipient(view: View) -> Payload:
    return {
        "id": view.id,
        "email": (view.email or "").lower(),
        "first_name": view.first or "",
        "last_name": view.last or "",
        "phone_number": view.phone or "",
        "address_line_1": view.street or "",
        "city": view.city or "",
        "postal_code": view.postcode or "",
        "country": view.country or "",
        "custom_fields": {"job_title": view.job_title} if view.job_title else {},
        "created_at": stamp(view.created),
        "updated_at": stamp(view.changed),
    }


def subscription(given: Subscription) -> Payload:
    """With the period both where Stripe had it once, on the subscription, and where it has it now, on the item."""
    period = {"current_period_start": given.period_end - 30 * DAY, "current_period_end": given.period_end}
    price = {
        "id": f"price_{given.plan.lower()}",
        "object": "price",
        "unit_amount": given.amount,
        "currency": "usd",
        "nickname": given.plan,
        "product": f"prod_{given.plan.lower()}",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
    }
    item = {
        "id": given.id.replace("sub_", "si_"),
        "object": "subscription_item",
        "price": price,
        "quantity": 1,
        **period,
    }
    return {
        "id": given.id,
        "object": "subscription",
        "customer": given.customer,
        "status": given.status,
        "currency": "usd",
        "created": given.created,
        "start_date": given.created,
        **period,
        "items": {"object": "list", "data": [item], "has_more": False},
        "metadata": {"plan": given.plan},
    }
