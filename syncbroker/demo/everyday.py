"""The acts of an ordinary week: people change things, each in their own tool, and all tools follow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from syncbroker.demo.payloads import OBJECTS
from syncbroker.demo.scene import OPERATOR, Scene
from syncbroker.demo.views import member_id


def first_sync(scene: Scene) -> None:
    """Judged by what only the maker of the world knows: who is really who."""
    world = scene.stage.world
    people = sum(len(rows) for system, rows in ((s, world.systems[s][o]) for s, o in OBJECTS.items()))
    scene.did(
        f"Five systems hold {people:,} records of {world.expected.persons:,} people, each in its own way"
    )
    done = scene.stage.run("sync", shown=scene.stage.shows)
    scene.must(f"the sync went through: {done.err}", done.code == 0)
    mixed, known = scene.mixed_up()
    scene.must(f"nobody was taken for somebody else ({mixed})", not mixed)
    waiting = len(scene.reviews("match"))
    scene.note(
        f"{known:,} records of theirs are linked, nobody to a stranger; {waiting} wait for a person to say who it is"
    )


def new_address(scene: Scene) -> None:
    mara = scene.person("mara")
    new, old_id = mara.next["email"], scene.ids["mara"]["marketing"]
    scene.did(f"Mara Lindqvist changes her address in the preference centre: {mara.email} -> {new}")
    scene.edit("marketing", "mara", {"email_address": new})
    scene.ids["mara"]["marketing"] = member_id(new)
    scene.until_held("mara", "email", new, ["crm", "billing", "support"])
    adopted = scene.decided("mara", "adopted", "email")
    scene.must("it came by Mailchimp's webhook", adopted.via == "webhook")
    scene.must("the rule is named with file and line", re.search(r"contact\.yaml:\d+$", adopted.place))
    explaining = scene.stage.begin("explain", f"contact:{new}", "email")
    seconds = scene.told.seconds
    scene.until("SendGrid has her under the new address only", lambda: _only(scene, "mail", mara.email, new))
    scene.told.seconds = seconds
    scene.told.holds.append((new, ["mail (a new contact there; SendGrid cannot change an address)"]))
    scene.must("Mailchimp has her once, under her new id", _only(scene, "marketing", mara.email, new))
    scene.must("nothing was written to Mailchimp for it", not scene.writes("marketing"))
    scene.note(
        f"Mailchimp's id of her followed the address ({old_id[:8]}... -> {member_id(new)[:8]}...): re-pointed"
    )
    explained = explaining.done()
    scene.told.command, scene.told.output = f"explain contact:{new} email", explained.out
    scene.must(f"explain went through: {explained.err}", explained.code == 0)
    unsaid = [
        word
        for word in ("marketing", mara.email, new, "enforce", "contact.yaml:")
        if word not in explained.out
    ]
    scene.must(f"explain says who, from what to what, and by which rule; not so: {unsaid}", not unsaid)


def both_at_once(scene: Scene) -> None:
    jonas = scene.person("jonas").next
    scene.did(
        "A salesman and an agent edit Jonas Albrecht at the same time, before either system hears of the other:"
    )
    scene.did(
        f"his telephone becomes {jonas['phone_crm']} in the CRM and {jonas['phone_support']} in support,"
    )
    scene.did("and he is to be reached by Phone according to the CRM, by Post according to support")
    with _slow_news(scene, "crm", "support"):
        scene.edit(
            "crm", "jonas", {"phone": jonas["phone_crm"], "preferred_contact": jonas["contact_by_crm"]}
        )
        scene.edit(
            "support",
            "jonas",
            {"phone": jonas["phone_support"], "user_fields.preferred_contact": jonas["contact_by_support"]},
        )
    settled = scene.decided("jonas", "conflict_resolved", "phone")
    number = jonas["phone_crm"] if settled.winner == "crm" else jonas["phone_support"]
    scene.until_held("jonas", "phone", number.replace(" ", ""), ["crm", "support", "billing"])
    scene.decided("jonas", "conflict_queued", "preferred_contact")
    scene.settle()
    scene.must(
        "what is to be asked stands still in both",
        scene.held("crm", "jonas", "contact_by") == jonas["contact_by_crm"]
        and scene.held("support", "jonas", "contact_by") == jonas["contact_by_support"],
    )
    scene.note("preferred_contact stands still in both until somebody answers")


def answered(scene: Scene) -> None:
    jonas = scene.review("jonas", "conflict", "preferred_contact")
    erik = scene.review("erik", "conflict", "preferred_contact")
    twin = next(name for name in ("clara", "hugo") if not scene.is_known(name))
    match = scene.review(twin, "match")
    scene.did(f"{OPERATOR.title()} answers what waits: Jonas is to be reached by Post, as support has it;")
    answering = scene.stage.begin(
        "review", "resolve", str(jonas.id), "--choose", "support", "--person", OPERATOR
    )
    scene.did("Erik Solheim by Phone, which CRM and support had disagreed on from the start;")
    scene.answer(erik, "support", OPERATOR)
    scene.did("and Clara Amsel is not Hugo Amsel, although they share a name and a telephone")
    scene.answer(match, "new", OPERATOR)
    done = answering.done()
    scene.must(f"the answer is taken: {done.err or done.out}", done.code == 0)
    scene.until_held("jonas", "contact_by", "Post", ["crm", "support"], shown="Jonas by Post")
    scene.until_held("erik", "contact_by", "Phone", ["crm", "support"], shown="Erik by Phone")
    scene.decided("jonas", "resolved_by_person", "preferred_contact")
    scene.decided("erik", "resolved_by_person", "preferred_contact")
    scene.decided(twin, "resolved_by_person")
    scene.must("Clara and Hugo are two", scene.record_id("clara") != scene.record_id("hugo"))


def foreign_edit(scene: Scene) -> None:
    ines = scene.person("ines")
    scene.did(f"An agent types {ines.next['email']} into Inês Carvalho's record in support")
    scene.edit("support", "ines", {"email": ines.next["email"]})
    scene.decided("ines", "edit_reverted", "email", where="support")
    scene.until_held("ines", "email", ines.email, ["crm", "marketing", "support"])
    scene.note("put back: a person's address is theirs to change, in the preference centre")


def proposal(scene: Scene) -> None:
    scene.did("An agent marks Victor Esposti as a VIP; that list is the CRM's")
    scene.edit("support", "victor", {"user_fields.vip": True})
    scene.decided("victor", "edit_proposed", "vip")
    review = scene.review("victor", "proposal", "vip")
    scene.settle()
    scene.must("the CRM does not have it yet", scene.held("crm", "victor", "vip") == "false")
    scene.did(f"{OPERATOR.title()} accepts the proposal")
    scene.answer(review, "accept", OPERATOR)
    scene.until_held("victor", "vip", "true", ["crm", "support"], shown="a VIP")
    scene.decided("victor", "resolved_by_person", "vip")


def cleared(scene: Scene) -> None:
    number = scene.held("mail", "tobias", "phone")
    title = scene.held("mail", "tobias", "job_title")
    scene.did(
        f"Somebody empties two fields of Tobias Reinholt in the CRM: his job title ({title}), and his telephone"
    )
    scene.edit("crm", "tobias", {"jobtitle": "", "phone": ""})
    scene.decided("tobias", "adopted", "job_title")
    scene.decided("tobias", "edit_reverted", "phone")
    scene.until_held("tobias", "job_title", "", ["crm", "mail"], shown="no job title")
    scene.until_held("tobias", "phone", number, ["crm", "mail"])
    scene.note("the mapping says `empty: clear` for the one and not for the other")


def unsubscribed(scene: Scene) -> None:
    scene.did("Priya Raman unsubscribes in the preference centre")
    scene.edit("marketing", "priya", {"status": "unsubscribed"})
    scene.until_held("priya", "consent", "unsubscribed", ["marketing", "crm"])
    seconds = scene.told.seconds
    scene.decided("priya", "adopted", "marketing_consent")
    scene.settle()
    scene.did("A colleague who means well sets her back to `Opted in` in the CRM")
    scene.edit("crm", "priya", {"marketing_consent": "Opted in"})
    scene.decided("priya", "edit_reverted", "marketing_consent", where="crm")
    scene.until_held("priya", "consent", "unsubscribed", ["crm", "marketing"], shown="still unsubscribed")
    scene.told.seconds = seconds
    scene.must("Mailchimp was never asked to subscribe her", not scene.writes("marketing"))


def opted_in(scene: Scene) -> None:
    oskar = scene.person("oskar")
    scene.must(
        "he is unsubscribed, whatever the CRM had said",
        scene.hold("oskar", "consent", "unsubscribed", ["crm", "marketing"]),
    )
    scene.did("Oskar Wiklund, who left the list long ago, signs up again himself")
    scene.edit("marketing", "oskar", {"status": "subscribed"})
    scene.until_held("oskar", "consent", "subscribed", ["marketing", "crm"])
    scene.decided("oskar", "adopted", "marketing_consent", where="marketing")
    seconds = scene.told.seconds
    scene.until("he is in the mail tool", lambda: len(scene.with_email("mail", oskar.email)) == 1)
    scene.told.seconds = seconds
    scene.note(
        "Mailchimp shows when and from where he agreed; who may get mail is created in the mail tool, too"
    )


def removed_tag(scene: Scene) -> None:
    tag = scene.person("leila").next["tag"]
    before = scene.held("marketing", "leila", "tags")
    left = ", ".join(one for one in before.split(", ") if one != tag)
    scene.must("all three systems have her tags", scene.hold("leila", "tags", before, ["crm", "support"]))
    scene.did(f"Somebody takes the tag `{tag}` from Leila Haddoun in the CRM (she has: {before})")
    scene.edit("crm", "leila", {"interests": ";".join(left.split(", "))})
    scene.until_held("leila", "tags", left, ["crm", "marketing", "support"])
    seconds = scene.told.seconds
    scene.decided("leila", "adopted", "interests")
    scene.settle()
    scene.did("An agent edits her telephone in support, where the tag once was")
    scene.edit("support", "leila", {"phone": "+1 206 555 0193"})
    scene.until("the telephone is in the CRM", lambda: scene.held("crm", "leila", "phone") == "+12065550193")
    scene.settle()
    scene.until_held("leila", "tags", left, ["crm", "marketing", "support"], shown=f"still {left}")
    scene.told.seconds = seconds


@contextmanager
def _slow_news(scene: Scene, *names: str) -> Iterator[None]:
    """What these systems tell is under way for a while; edits made meanwhile know nothing of each other."""
    systems = [scene.stage.systems[name] for name in names]
    for system in systems:
        system.fault("delay", "webhook", seconds=0.5, times=0)
    yield
    for system in systems:
        system.idle()
        system.clear_faults()


def _only(scene: Scene, system: str, old: str, new: str) -> bool:
    """The system has one record of the new address and none of the old one."""
    return not scene.with_email(system, old) and len(scene.with_email(system, new)) == 1
