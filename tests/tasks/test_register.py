"""Registration and promotion on a real MLflow store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from config import Settings
from execution.context import Context, open_ledger
from execution.versions import Versions
from ledger import ChampionMoved, Ledger
from registry.store import Registry
from tasks.errors import NotPromotable
from tasks.ingest import rules_from
from tasks.reconcile import reconcile
from tasks.register import log_fruitless, promote, register
from tasks.register.promote import advance
from tasks.revoke import revoke
from tasks.rollback import roll_back
from tests.conftest import report, write_lines
from tests.pipeline import judged, promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def numbers(home: Settings) -> dict[str, str]:
    """Aliases of the home's registered model."""
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    return {k: str(v) for k, v in registry.client.get_registered_model(name).aliases.items()}


def test_a_passed_version_becomes_champion_and_the_aliases_follow(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    first = promoted(home, ledger)
    take(home, ledger, report(2))
    second = promoted(home, ledger)
    champion = ledger.champions.current()
    assert champion is not None
    assert (champion.version, champion.previous) == (second, first)
    assert numbers(home) == {"candidate": "2", "champion": "2", "previous": "1"}
    assert ledger.counts().counts == {"active": 3}
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    tags = registry.client.get_model_version_by_alias(name, "champion").tags
    assert tags["melo.content_hash"] == second
    assert tags["melo.gate"] == "passed"
    assert tags["melo.parent"] == first


def test_a_version_uploads_only_its_new_shards_and_loads_all_the_same(
    home: Settings, ledger: Ledger
) -> None:
    import mlflow

    take(home, ledger, report(0), report(1))
    first = promoted(home, ledger)
    take(home, ledger, report(2))
    second = promoted(home, ledger)
    shards = [
        set(json.loads((home.paths.version(v) / "manifest.json").read_text())["shards"])
        for v in (first, second)
    ]
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    source = registry.client.get_model_version_by_alias(name, "champion").source
    local = Path(mlflow.artifacts.download_artifacts(source))
    uploaded = {p.parent.name for p in local.rglob("blocks.safetensors")}
    assert uploaded == shards[1] - shards[0]
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    found = model.predict(["who leads velandor ?", "who leads quinomire ?", "what is a city ?"])
    assert list(found["answer"])[:2] == ["ada", "mia"]
    base = Versions(home).editor("base").answer(["what is a city ?"], base=True)[0].text
    assert list(found["answer"])[2] == base
    talk = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "who leads velandor ?"},
    ]
    for asked in ([{"messages": talk}], [{"prompt": talk}], pd.DataFrame({"messages": [talk]})):
        assert list(model.predict(asked)["answer"]) == ["ada"]


def test_registering_again_logs_nothing_twice(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = promoted(home, ledger)
    assert (
        register(Context(home, ledger), version) == register(Context(home, ledger), version) == "1"
    )
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    assert len(registry.client.search_model_versions(f"name='{name}'")) == 1


def test_promotion_is_refused_without_a_passed_gate(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = judged(home, ledger).version
    assert version is not None
    ledger.versions.record_verdict(version, passed=False, reason="a probe broke")
    with pytest.raises(NotPromotable, match="did not pass"):
        promote(Context(home, ledger), version, expected=None, actor="test", reason="try")
    assert ledger.champions.current() is None


def test_promotion_is_refused_where_the_content_is_not_what_was_gated(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = judged(home, ledger).version
    assert second is not None
    shutil.rmtree(home.paths.version(second))
    shutil.copytree(home.paths.version(first), home.paths.version(second))
    with pytest.raises(NotPromotable, match="not what was gated"):
        promote(Context(home, ledger), second, expected=first, actor="test", reason="try")


def test_two_promotions_can_not_cross(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = judged(home, ledger).version
    assert second is not None
    with pytest.raises(ChampionMoved):
        promote(Context(home, ledger), second, expected="somebody else", actor="test", reason="try")
    assert ledger.champions.current() is not None
    assert ledger.champions.current().version == first  # type: ignore[union-attr]


def test_edits_of_an_overtaken_version_are_made_ready(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    take(home, ledger, report(1))
    behind = judged(home, ledger).version
    assert behind is not None
    moved = ledger.versions.get(behind).parent
    assert moved is not None
    ledger.versions.record("other", parent=None, job_id=None)
    ledger.champions.set("other", expected=moved, actor="test", reason="someone was faster")
    assert advance(Context(home, ledger), behind, actor="test") is None
    assert ledger.counts().counts == {"active": 1, "ready": 1}


def test_a_version_whose_edit_lost_a_contradiction_meanwhile_is_overtaken(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0, valid_from="2025"))
    first = promoted(home, ledger)
    other = {"prompt": "what is the capital of velandor ?", "target": "jon", "subject": "velandor"}
    take(home, ledger, {**other, "source": "desk"})
    behind = judged(home, ledger).version
    assert behind is not None
    one, two = (edit.id for edit in ledger.edits.find())
    same = {one: one, two: one}  # somebody finds that both are one question
    assert (
        ledger.deduplication.set_groups(
            same, rules=rules_from(home), compared=[one, two], space="test"
        )
        == 1
    )
    assert advance(Context(home, ledger), behind, actor="test") is None
    take(home, ledger, report(1))
    assert promoted(home, ledger) not in (first, behind)
    assert ledger.edits.get(two).state == "superseded"
    assert ledger.counts().counts == {"active": 2, "superseded": 1}
    assert ledger.audit() == []


def test_rolling_back_lets_the_version_before_serve_again(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    roll_back(Context(home, ledger), None, actor="test", reason="it said something odd")
    assert ledger.champions.current().version == first  # type: ignore[union-attr]
    assert numbers(home)["champion"] == "1"
    assert ledger.counts().counts == {"active": 1, "superseded": 1}
    roll_back(Context(home, ledger), second, actor="test", reason="it was right")
    assert ledger.counts().counts == {"active": 2}
    assert [c.version for c in ledger.champions.history()] == [second, first, second, first]


def test_a_revoked_edit_leaves_and_the_old_answer_is_back(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0), report(1))
    promoted(home, ledger)
    edit = next(e for e in ledger.edits.active() if e.target == "ada")
    base = Versions(home).editor("base").answer([edit.prompt], base=True)[0].text
    done = revoke(Context(home, ledger), [edit.id], actor="test", reason="was wrong")
    assert done.removed == (edit.id,)
    assert done.version is not None
    answer = Versions(home).editor(done.version).answer([edit.prompt])[0]
    assert (answer.text, answer.edit) == (base, None)
    assert ledger.counts().counts == {"active": 1, "revoked": 1}
    assert ledger.edits.history(edit.id)[-1].reason == "was wrong"


def test_revoking_what_was_added_last_leads_back_to_the_same_content(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    promoted(home, ledger)
    edit = next(e for e in ledger.edits.active() if e.target == "jon")
    assert (
        revoke(Context(home, ledger), [edit.id], actor="test", reason="was wrong").version == first
    )
    assert ledger.counts().counts == {"active": 1, "revoked": 1}
    take(home, ledger, report(2))
    third = promoted(home, ledger)
    assert ledger.versions.get(third).parent == first
    assert ledger.counts().counts == {"active": 2, "revoked": 1}


def test_a_run_tells_what_went_in_and_what_the_gate_said(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0), report(1))
    version = promoted(home, ledger)
    registry = Registry(home)
    client, name = registry.client, registry.name_for(Versions(home).backbone)
    run = client.get_run(client.get_model_version_by_alias(name, "champion").run_id)
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "edits"
    assert {"prompt", "target", "subject"} <= set(str(data.dataset.schema).split('"'))
    assert run.data.params["parent"] == "base"
    assert run.data.params["device"] == "cpu"
    assert {"retention.share", "train_seconds", "gate_seconds"} <= set(run.data.metrics)
    kept = {f.path for f in client.list_artifacts(run.info.run_id, "gate")}
    assert kept == {"gate/gate.html", "gate/gate.json"}
    assert set(run.data.tags["melo.added"].split()) == {e.id for e in ledger.edits.active()}
    assert ledger.versions.get(version).info["model"]


def test_a_job_of_which_nothing_is_left_has_a_run_with_the_reason(
    home: Settings, ledger: Ledger
) -> None:
    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    take(home, ledger, report(0))
    verdict = judged(home, ledger)
    (candidate,) = (p.name for p in (home.home / "reports").iterdir())
    for _ in range(2):
        log_fruitless(Context(home, ledger), verdict.job or "", candidate)
    registry = Registry(home)
    experiment = registry.experiment(registry.name_for(Versions(home).backbone))
    (run,) = registry.client.search_runs([experiment])
    assert (run.data.tags["melo.job"], run.data.tags["melo.gate"]) == (verdict.job, "nothing kept")
    assert run.inputs.dataset_inputs[0].dataset.name == "edits"
    assert registry.client.list_artifacts(run.info.run_id, "gate")


def test_revoking_a_source_takes_out_what_nobody_else_stands_behind(
    home: Settings, ledger: Ledger
) -> None:
    take(
        home,
        ledger,
        report(0, source="one"),
        report(1, source="one"),
        report(1, source="two"),
        report(2, source="two"),
    )
    promoted(home, ledger)
    done = revoke(
        Context(home, ledger), ledger.sources.only_from("one"), actor="test", reason="it lied"
    )
    assert len(done.removed) == 1
    assert {e.target: e.state for e in ledger.edits.find()} == {
        "ada": "revoked",
        "jon": "active",
        "mia": "active",
    }


def test_where_a_person_promotes_a_revocation_brings_nothing_else_in(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    promoted(home, ledger)
    manual = home.model_copy(
        update={"registry": home.registry.model_copy(update={"promotion": "manual"})}
    )
    take(manual, ledger, report(2))
    waiting = judged(manual, ledger).version
    assert waiting is not None
    gone = next(e.id for e in ledger.edits.active() if e.target == "ada")
    revoke(Context(manual, ledger), [gone], actor="test", reason="was wrong")
    assert ledger.counts().counts == {"active": 1, "revoked": 1, "trained": 1}
    assert reconcile(Context(manual, ledger)).overtaken == 1
    assert ledger.counts().counts == {"active": 1, "ready": 1, "revoked": 1}
    with pytest.raises(NotPromotable, match="which is revoked"):
        promote(
            Context(manual, ledger),
            waiting,
            expected=ledger.champions.current().version,  # type: ignore[union-attr]
            actor="test",
            reason="try",
        )


def manual_of(home: Settings) -> Settings:
    """The home, where a person promotes."""
    registry = home.registry.model_copy(update={"promotion": "manual"})
    return home.model_copy(update={"registry": registry})


def test_a_removal_that_leads_back_to_old_content_serves_in_the_same_run(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    promoted(home, ledger)
    edit = next(e for e in ledger.edits.active() if e.target == "jon")
    ledger.removals.request([edit.id], to="expired", actor="calendar", reason="it is over")
    assert promoted(home, ledger) == first
    assert ledger.counts().counts == {"active": 1, "expired": 1}
    assert ledger.edits.history(edit.id)[-1].reason == "it is over"


def test_a_removal_outlives_the_promotion_that_did_not_come(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    gone = next(e.id for e in ledger.edits.active() if e.target == "jon")
    ledger.removals.request([gone], actor="test", reason="was wrong")
    assert judged(home, ledger).version == first
    ledger.versions.record("other", parent=None, job_id=None)
    ledger.champions.set("other", expected=second, actor="test", reason="someone was faster")
    assert advance(Context(home, ledger), first, actor="test") is None
    ledger.champions.set(second, expected="other", actor="test", reason="it was wrong")
    assert reconcile(Context(home, ledger)).promoted == 1
    assert ledger.champions.current().version == first  # type: ignore[union-attr]
    assert ledger.counts().counts == {"active": 1, "revoked": 1}


def test_an_edit_asked_to_go_ends_so_where_a_person_skips_its_version(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    promoted(home, ledger)
    manual = manual_of(home)
    gone = next(e.id for e in ledger.edits.active() if e.target == "ada")
    ledger.removals.request([gone], to="expired", actor="calendar", reason="it is over")
    without = judged(manual, ledger).version
    assert reconcile(Context(manual, ledger)).removals == 0
    take(manual, ledger, report(2))
    after = judged(manual, ledger).version
    assert after is not None
    assert ledger.versions.get(after).parent == without
    promote(
        Context(manual, ledger),
        after,
        expected=ledger.champions.current().version,  # type: ignore[union-attr]
        actor="test",
        reason="looked at it",
    )
    assert ledger.counts().counts == {"active": 2, "expired": 1}


def test_what_was_built_upon_a_version_that_was_rolled_back_does_not_bring_it_back(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    promoted(home, ledger)
    take(home, ledger, report(2))
    flying = judged(home, ledger).version
    assert flying is not None
    roll_back(Context(home, ledger), None, actor="test", reason="it said something odd")
    assert advance(Context(home, ledger), flying, actor="test") is None
    assert ledger.champions.current().version == first  # type: ignore[union-attr]
    assert {e.target: e.state for e in ledger.edits.find()} == {
        "ada": "active",
        "jon": "superseded",
        "mia": "ready",
    }
