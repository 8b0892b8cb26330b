"""Registration and promotion on a real MLflow store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from config import Settings
from ledger import ChampionMoved, Ledger
from tasks.errors import NotPromotable
from tasks.register import Registry, promote, register, roll_back
from tasks.register.promote import advance
from tasks.revoke import revoke
from tasks.versions import folder_of, open_backbone, open_editor, open_ledger
from tests.conftest import report
from tests.pipeline import judged, promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def numbers(home: Settings) -> dict[str, str]:
    """Aliases of the home's registered model."""
    registry = Registry(home)
    name = registry.name_for(open_backbone(home))
    return {k: str(v) for k, v in registry.client.get_registered_model(name).aliases.items()}


def test_a_passed_version_becomes_champion_and_the_aliases_follow(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    first = promoted(home, ledger)
    take(home, ledger, report(2))
    second = promoted(home, ledger)
    champion = ledger.champion()
    assert champion is not None
    assert (champion.version, champion.previous) == (second, first)
    assert numbers(home) == {"candidate": "2", "champion": "2", "previous": "1"}
    assert ledger.counts().counts == {"active": 3}
    registry = Registry(home)
    name = registry.name_for(open_backbone(home))
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
    shards = [set(json.loads((folder_of(home, v) / "manifest.json").read_text())["shards"])
              for v in (first, second)]  # fmt: skip
    registry = Registry(home)
    name = registry.name_for(open_backbone(home))
    source = registry.client.get_model_version_by_alias(name, "champion").source
    local = Path(mlflow.artifacts.download_artifacts(source))
    uploaded = {p.parent.name for p in local.rglob("blocks.safetensors")}
    assert uploaded == shards[1] - shards[0]
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    found = model.predict(["who leads velandor ?", "who leads quinomire ?", "what is a city ?"])
    assert list(found["answer"])[:2] == ["ada", "mia"]
    base = open_editor(home, "base").answer(["what is a city ?"], base=True)[0].text
    assert list(found["answer"])[2] == base


def test_registering_again_logs_nothing_twice(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = promoted(home, ledger)
    assert register(home, ledger, version) == register(home, ledger, version) == "1"
    registry = Registry(home)
    name = registry.name_for(open_backbone(home))
    assert len(registry.client.search_model_versions(f"name='{name}'")) == 1


def test_promotion_is_refused_without_a_passed_gate(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = judged(home, ledger).version
    assert version is not None
    ledger.record_verdict(version, passed=False, reason="a probe broke")
    with pytest.raises(NotPromotable, match="did not pass"):
        promote(home, ledger, version, expected=None, actor="test", reason="try")
    assert ledger.champion() is None


def test_promotion_is_refused_where_the_content_is_not_what_was_gated(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = judged(home, ledger).version
    assert second is not None
    shutil.rmtree(folder_of(home, second))
    shutil.copytree(folder_of(home, first), folder_of(home, second))
    with pytest.raises(NotPromotable, match="not what was gated"):
        promote(home, ledger, second, expected=first, actor="test", reason="try")


def test_two_promotions_can_not_cross(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = judged(home, ledger).version
    assert second is not None
    with pytest.raises(ChampionMoved):
        promote(home, ledger, second, expected="somebody else", actor="test", reason="try")
    assert ledger.champion() is not None
    assert ledger.champion().version == first  # type: ignore[union-attr]


def test_edits_of_an_overtaken_version_are_made_ready(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    take(home, ledger, report(1))
    behind = judged(home, ledger).version
    assert behind is not None
    moved = ledger.version(behind).parent
    assert moved is not None
    ledger.record_version("other", parent=None, job_id=None, hash="other")
    ledger.set_champion("other", expected=moved, actor="test", reason="someone was faster")
    assert advance(home, ledger, behind, actor="test") is None
    assert ledger.counts().counts == {"active": 1, "ready": 1}


def test_rolling_back_lets_the_version_before_serve_again(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    roll_back(home, ledger, None, actor="test", reason="it said something odd")
    assert ledger.champion().version == first  # type: ignore[union-attr]
    assert numbers(home)["champion"] == "1"
    assert ledger.counts().counts == {"active": 1, "superseded": 1}
    roll_back(home, ledger, second, actor="test", reason="it was right")
    assert ledger.counts().counts == {"active": 2}
    assert [c.version for c in ledger.champion_history()] == [second, first, second, first]


def test_a_revoked_edit_leaves_and_the_old_answer_is_back(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0), report(1))
    promoted(home, ledger)
    edit = next(e for e in ledger.active_edits() if e.target == "ada")
    base = open_editor(home, "base").answer([edit.prompt], base=True)[0].text
    done = revoke(home, ledger, [edit.id], actor="test", reason="was wrong")
    assert done.removed == (edit.id,)
    assert done.version is not None
    answer = open_editor(home, done.version).answer([edit.prompt])[0]
    assert (answer.text, answer.edit) == (base, None)
    assert ledger.counts().counts == {"active": 1, "revoked": 1}
    assert ledger.history(edit.id)[-1].reason == "was wrong"


def test_revoking_what_was_added_last_leads_back_to_the_same_content(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    promoted(home, ledger)
    edit = next(e for e in ledger.active_edits() if e.target == "jon")
    assert revoke(home, ledger, [edit.id], actor="test", reason="was wrong").version == first
    assert ledger.counts().counts == {"active": 1, "revoked": 1}
    take(home, ledger, report(2))
    third = promoted(home, ledger)
    assert ledger.version(third).parent == first
    assert ledger.counts().counts == {"active": 2, "revoked": 1}
