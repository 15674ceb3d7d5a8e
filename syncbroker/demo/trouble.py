"""The acts of a bad week: answers get lost, edits go unseen, somebody deletes, somebody fights; then all is quiet."""

from __future__ import annotations

from syncbroker.demo.scene import OPERATOR, Scene
from syncbroker.sdk.paths import get_path
from syncbroker.store import decisions
from syncbroker.store.decisions import Decision, Outcome


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


def _past(scene: Scene, record_id: str) -> list[Decision]:
    with scene.stage.engine().store.read() as tx:
        return decisions.history(tx, record_id)


def _history(scene: Scene, record_id: str) -> list[Outcome]:
    return [outcome for one in _past(scene, record_id) for outcome in one.outcomes]
