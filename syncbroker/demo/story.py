"""The story, act by act: what people do at the vendors, and what must come of it.

An act makes its edits through the vendors' own hands, waits for what it expects, and tells what it saw (`scene`). The
acceptance tests play the very same acts. Their order matters only to people: later acts know what happened before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from syncbroker.demo.payloads import OBJECTS
from syncbroker.demo.scene import Scene
from syncbroker.demo.views import member_id
from syncbroker.sdk.paths import get_path
from syncbroker.store import decisions
from syncbroker.store.decisions import Decision, Outcome

OPERATOR = "olga"
"""Who answers the questions that wait."""


class Act(NamedTuple):
    """`serving`: `syncbroker serve` runs meanwhile. An act that needs the store for itself ends it first.

    `prompt`: its time is that between an edit and its last effect. `commands` that write to the terminal themselves.
    """

    name: str
    title: str
    play: Callable[[Scene], None]
    serving: bool = True
    prompt: bool = False
    commands: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------- the acts


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


def lost_answer(scene: Scene) -> None:
    yuki = scene.person("yuki")
    scene.did(
        "Yuki Aomori signs up in marketing. The broker creates her in the CRM; the CRM does it, but its answer is lost"
    )
    scene.stage.systems["crm"].fault("drop_answer", "contacts.*create")
    scene.insert(
        "marketing",
        "yuki",
        {
            "email_address": yuki.email,
            "merge_fields.FNAME": yuki.first,
            "merge_fields.LNAME": yuki.last,
            "merge_fields.PHONE": "+1 503 555 0123",
        },
    )
    scene.until("she is in the CRM", lambda: bool(scene.with_email("crm", yuki.email)))
    scene.decided("yuki", "linked")
    seconds = scene.told.seconds
    scene.settle()
    scene.told.seconds = seconds
    found = scene.with_email("crm", yuki.email)
    scene.must(f"she is in the CRM once ({len(found)})", len(found) == 1)
    creates = [one for one in scene.writes("crm") if "create" in one.operation]
    scene.must("one create was sent", len(creates) == 1 and creates[0].fault == "drop_answer")
    scene.must("the CRM has her name", get_path(found[0], "properties.lastname") == yuki.last)
    scene.must("she is in the mail tool once", len(scene.with_email("mail", yuki.email)) == 1)
    scene.told.holds.append((yuki.email, ["marketing", "crm (once)", "mail (once)"]))
    scene.note("asked for what it might have created, the CRM showed her: linked, not created again")


def unseen_edit(scene: Scene) -> None:
    ours, theirs = "+1 206 555 0171", "+1 206 555 0172"
    scene.did(
        f"An agent changes Victor Esposti's telephone to {ours} in support. The CRM is slow to take the write;"
    )
    scene.stage.systems["crm"].fault("delay", "contacts.*update*", write=True, seconds=5.0)
    scene.edit("support", "victor", {"phone": ours})
    scene.until("the write to the CRM is under way", lambda: not scene.stage.systems["crm"].faults())
    scene.did(f"after the broker's last look, and before its write lands, a salesman types {theirs} there")
    scene.edit("crm", "victor", {"phone": theirs})
    scene.decided("victor", "overwritten_unseen", "phone", where="crm")
    scene.until_held("victor", "phone", theirs.replace(" ", ""), ["crm", "billing", "support"])
    scene.note(
        "the write removed his edit; a poll that was made in between had seen it, so it was brought back"
    )


def deleted(scene: Scene) -> None:
    ruth = scene.person("ruth")
    scene.did("Ruth Castellan's contact is deleted in the CRM, while billing and support still know her")
    scene.remove("crm", "ruth")
    scene.decided("ruth", "delete_queued", where="crm")
    review = scene.review("ruth", "delete")
    scene.settle()
    scene.must(
        "nothing was deleted without asking",
        scene.record("billing", "ruth") and scene.record("support", "ruth"),
    )
    scene.did(f"{OPERATOR.title()} answers: she asked for it, delete her everywhere")
    id = scene.record_id("ruth")
    scene.answer(review, "propagate", OPERATOR)
    scene.until(
        "she is gone from billing and support",
        lambda: not any(scene.with_email(system, ruth.email) for system in ("crm", "billing", "support")),
    )
    scene.told.holds.append(("nobody of her name", ["crm", "billing", "support"]))
    scene.settle()
    ended = [one for one in _history(scene, id) if one.kind == "deleted"]
    scene.must("the deletions are on record", len(ended) == 2)
    scene.note("a tombstone keeps her from being made or imported again")


def drift(scene: Scene) -> None:
    nadia, amara = scene.person("nadia"), scene.person("amara")
    city, french = scene.held("crm", "nadia", "city"), amara.next["language"]
    scene.did(
        f"In the mail tool, which tells nobody, Nadia Belkacem becomes {nadia.next['last']} and moves to Paris;"
    )
    scene.edit("mail", "nadia", {"last_name": nadia.next["last"], "city": "Paris"})
    scene.did("an agent sets Amara Nwosu's language in support to French, which Zendesk tells nobody either")
    scene.edit("support", "amara", {"locale": french})
    scene.settle()
    scene.must("nobody has heard of it", scene.held("crm", "nadia", "last_name") == nadia.last)
    scene.did("`syncbroker sweep` compares everything the systems hold with what is believed")
    scene.stage.stop_serving()
    done = scene.stage.run("sweep", "--json")
    scene.must(f"the sweep went through: {done.err}", done.code == 0)
    scene.decided("nadia", "adopted", "last_name", where="mail")
    scene.decided("nadia", "drift_corrected", where="mail")
    scene.decided("amara", "edit_ignored", "language", where="support")
    scene.until_held("nadia", "last_name", nadia.next["last"], ["crm", "marketing", "mail"])
    scene.until_held("nadia", "city", city, ["crm", "mail"])
    scene.until_held("amara", "language", french, ["support"])
    scene.until_held("amara", "language", "en", ["crm", "marketing"])
    scene.told.seconds = None
    scene.note(
        "a name may change anywhere; the mail tool's address is only a copy; a language is set once and then left"
    )


def fight(scene: Scene) -> None:
    ines = scene.person("ines")
    typed = ines.next["email"]
    scene.did(f"An automation in support puts {typed} back into Inês Carvalho's record, again and again")
    for _ in range(5):
        scene.edit("support", "ines", {"email": typed}, "automation")
        scene.until(
            "it is put back, or asked about",
            lambda: scene.hold("ines", "email", ines.email, ["support"]) or bool(scene.reviews("contested")),
        )
        if scene.reviews("contested"):
            break
    scene.decided("ines", "contested", "email")
    review = scene.review("ines", "contested", "email")
    scene.settle()
    scene.must("it is not written over any more", scene.held("support", "ines", "email") == typed)
    scene.did(f"{OPERATOR.title()} has the automation switched off, and answers: the golden value")
    scene.answer(review, "golden", OPERATOR)
    scene.until_held("ines", "email", ines.email, ["crm", "marketing", "support"])
    scene.note(
        "three times in a row, however slowly; then a person is asked, and the record's other fields go on"
    )


def undone(scene: Scene) -> None:
    nadia = scene.person("nadia")
    run = next(
        one.run
        for one in _past(scene, scene.record_id("nadia"))
        if any(o.kind == "adopted" and o.field == "last_name" and o.system == "mail" for o in one.outcomes)
    )
    scene.did(
        f"Nadia's new name was a mistake. {OPERATOR.title()} undoes the run that brought it, number {run}"
    )
    done = scene.stage.run("undo", str(run), "--yes", "--person", OPERATOR)
    scene.must(f"the undo went through: {done.err or done.out}", done.code == 0)
    scene.decided("nadia", "undone", "last_name")
    scene.until_held("nadia", "last_name", nadia.last, ["crm", "marketing", "mail"])
    scene.told.seconds = None
    scene.note(
        "only what is still that run's goes back; `syncbroker undo` shows its plan first, and can be undone"
    )


def quiet(scene: Scene) -> None:
    """The last act: a world at rest stays at rest."""
    scene.did("Nobody does anything; a full sync and a full sweep are made")
    with scene.stage.engine().store.read() as tx:
        before = decisions.last_id(tx), sum(decisions.waiting_counts(tx).values())
    done = scene.stage.work()
    scene.must(f"both went through: {done.failed}", not done.failed)
    with scene.stage.engine().store.read() as tx:
        after = decisions.last_id(tx), sum(decisions.waiting_counts(tx).values())
    written = {name: len(entries) for name in scene.stage.systems if (entries := scene.writes(name))}
    scene.must(f"no system was written to: {written}", not written)
    scene.must(f"nothing was decided: {after[0] - before[0]} decisions", after[0] == before[0])
    scene.must(f"nobody is asked anything new: {after[1] - before[1]} reviews", after[1] == before[1])
    scene.told.holds.append(("zero writes by the systems' own request logs", list(scene.stage.systems)))
    scene.note("zero decisions, zero questions")


ACTS: tuple[Act, ...] = (
    Act("first_sync", "The first sync", first_sync, serving=False, commands=("sync",)),
    Act("new_address", "A new address", new_address, prompt=True),
    Act("both_at_once", "Two edits at once", both_at_once),
    Act("answered", "Questions answered", answered),
    Act("foreign_edit", "An edit where nobody may", foreign_edit, prompt=True),
    Act("proposal", "A proposal", proposal),
    Act("cleared", "Emptied on purpose, emptied by mistake", cleared, prompt=True),
    Act("unsubscribed", "No means no", unsubscribed, prompt=True),
    Act("opted_in", "And yes means yes", opted_in, prompt=True),
    Act("removed_tag", "A tag that stays away", removed_tag),
    Act("lost_answer", "A lost answer", lost_answer),
    Act("unseen_edit", "An edit that nobody saw", unseen_edit),
    Act("deleted", "A deletion", deleted),
    Act("drift", "Drift", drift),
    Act("fight", "A fight", fight),
    Act("undone", "Undone", undone),
    Act("quiet", "Quiet", quiet, serving=False),
)
"""In the order in which they are played."""


# ------------------------------------------------------------------------------------------------- helpers


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


def _past(scene: Scene, record_id: str) -> list[Decision]:
    with scene.stage.engine().store.read() as tx:
        return decisions.history(tx, record_id)


def _history(scene: Scene, record_id: str) -> list[Outcome]:
    return [outcome for one in _past(scene, record_id) for outcome in one.outcomes]
