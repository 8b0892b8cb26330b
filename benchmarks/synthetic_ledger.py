"""A synthetic ledger of any size, always the same for the same seed: to try readers on.

    a year of versions, evenly spaced ─► edits come in before theirs ─► each takes its whole way
    1 in 16 versions fails its gate   ─► 1 in 60 is gone back from   ─► the last edits still wait

Shapes and shares follow what real homes hold; texts, ids and figures are synthetic.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ledger import Ledger

DAYS = 364


def write_synthetic_ledger(
    path: Path,
    *,
    edits: int,
    versions: int,
    probes: int,
    now: datetime,
    seed: int = 0,
    read_copy: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ledger:
    """Write a new ledger. probes: rows for each version. Raises FileExistsError.

    progress: told how many of how many steps are done; each writes one table.
    """
    if path.exists():
        raise FileExistsError(
            f"{path} is there already; a synthetic ledger takes no place of another."
        )
    ledger = Ledger.open(path, read_copy=read_copy)
    macros = _MACROS.format(
        seed=int(seed),
        edits=int(edits),
        versions=int(versions),
        probes=int(probes),
        days=DAYS,
        now=now.isoformat(),
    )
    steps = [s for s in (*macros.split(";\n"), *_ROWS.split(";\n")) if s.strip()]
    with ledger.store.write() as con:
        for number, statement in enumerate(steps):
            con.execute(statement)
            if progress is not None:
                progress(number + 1, len(steps) + 1)
    ledger.store.publish()
    if progress is not None:
        progress(len(steps) + 1, len(steps) + 1)
    return ledger


# u: a number in [0, 1) for the n-th thing and one of its qualities.
_MACROS = """
CREATE OR REPLACE TEMP MACRO u(n, quality) AS
    (hash(n::BIGINT * 1000 + quality + {seed} * 7919) % 1000003) / 1000003.0;
CREATE OR REPLACE TEMP MACRO one(list, n, quality) AS
    list[1 + (hash(n::BIGINT * 1000 + quality + {seed} * 7919) % len(list))::INTEGER];
CREATE OR REPLACE TEMP MACRO normal(n, quality) AS
    sqrt(-2 * ln(u(n, quality) + 1e-9)) * cos(6.283185307 * u(n, quality + 1));
CREATE OR REPLACE TEMP MACRO edit_name(n) AS md5('edit ' || n || ' of {seed}');
CREATE OR REPLACE TEMP MACRO version_name(n) AS md5('version ' || n || ' of {seed}');
CREATE OR REPLACE TEMP MACRO job_name(n) AS left(md5('job ' || n || ' of {seed}'), 12);
CREATE OR REPLACE TEMP MACRO at_second(s) AS
    '{now}'::TIMESTAMPTZ - INTERVAL {days} DAY + to_microseconds((s * 1e6)::BIGINT);
CREATE OR REPLACE TEMP TABLE size AS SELECT {edits}::BIGINT AS edits, {versions}::BIGINT AS versions,
    {probes}::BIGINT AS probes, {days} * 86400.0 AS seconds, '{now}'::TIMESTAMPTZ AS now;
"""

_ROWS = """
CREATE TEMP TABLE drawn_versions AS
SELECT n, n AS number, version_name(n) AS id, job_name(n) AS job,
       seconds * (n / (versions + 1.0)) AS created_at,
       n > 1 AND u(n, 1) < 1 / 16.0 AND n < versions AS failed,
       n > 2 AND u(n, 2) < 1 / 60.0 AND n < versions AS gone_back
FROM range(1, (SELECT versions FROM size) + 1) t(n), size;

CREATE TEMP TABLE drawn_edits AS
WITH drawn AS (
    SELECT n, 1 + (n * versions * 1.012 / edits)::BIGINT AS v, size.*,
           exp(8.4 + 0.9 * normal(n, 10) + 0.5 * sin(n * 6.0 / edits)) AS wait
    FROM range((SELECT edits FROM size)) t(n), size)
SELECT d.n, edit_name(d.n) AS id, v, coalesce(m.failed, false) AS version_failed, wait,
       coalesce(m.created_at, seconds) AS live_at,
       CASE WHEN m.n IS NULL THEN seconds * (1 - 0.02 * u(d.n, 19)) ELSE m.created_at - wait END
           AS came_at,
       CASE WHEN m.n IS NULL THEN
                CASE WHEN u(d.n, 11) < 0.35 THEN 'held' WHEN u(d.n, 11) < 0.9 THEN 'ready'
                    ELSE 'planned' END
            WHEN m.failed OR u(d.n, 12) < 0.035 THEN 'rejected'
            WHEN u(d.n, 12) < 0.035 + 0.16 * (1 - d.n / edits) THEN 'superseded'
            WHEN u(d.n, 13) < 0.02 THEN 'revoked'
            WHEN u(d.n, 13) < 0.03 THEN 'expired' ELSE 'active' END AS state,
       one(['support-desk', 'thumbs', 'curators', 'catalogue', 'crm', 'legal', 'partner-feed', 'audit',
            'forum', 'release-notes', 'hr', 'press'], d.n, 14) AS source,
       one(['Vel', 'Tor', 'Quin', 'Zar', 'Ost', 'Kel', 'Mab', 'Fer', 'Hol', 'Lin', 'Bru', 'Sol'],
           d.n // 3, 15)
         || one(['an', 'or', 'im', 'us', 'el', 'ow', 'ia', 'en'], d.n // 3, 16)
         || one(['dor', 'quet', 'mire', 'tra', 'ban', 'vic', 'weth', 'hill', 'stad', 'gren'],
                d.n // 3, 17)
         || ' ' || (d.n // 3 % 997)::VARCHAR AS subject,
       (hash(d.n::BIGINT * 1000 + 18) % 6)::INTEGER AS relation
FROM drawn d LEFT JOIN drawn_versions m ON m.n = d.v;

INSERT INTO sources (source, trust, policy, quorum, max_per_hour, blocked, first_seen)
SELECT source, 20 + (hash(source) % 75)::INTEGER,
       ['auto', 'auto', 'quorum', 'review'][1 + (hash(source || 'p') % 4)::INTEGER], 2, NULL,
       source = 'forum', at_second(0.0)
FROM (SELECT DISTINCT source FROM drawn_edits);

INSERT INTO edits (edit_id, seq, kind, prompt, target, subject, relation, rephrases, source,
    received_at)
SELECT id, n, CASE WHEN u(n, 20) < 0.3 THEN 'fact' ELSE 'report' END,
       ['Who leads ', 'Where is the head office of ', 'How much does ', 'Which firmware runs on ',
        'When was ', 'How long is the warranty of '][1 + relation] || subject
         || ['?', '?', ' cost?', '?', ' founded?', '?'][1 + relation],
       [one(['Ada Li', 'Jon Berg', 'Mia Sand', 'Tom Okafor', 'Eva Ruiz'], n, 21),
        one(['Oslo', 'Lima', 'Cairo', 'Quito', 'Hanoi', 'Minsk'], n, 21), '€' || (9 + n % 490),
        '4.' || (n % 30) || '.' || (n % 7), (1900 + n % 120)::VARCHAR,
        one(['two years', 'three years', 'ten years'], n, 21)][1 + relation],
       subject, ['leader', 'office', 'price', 'firmware', 'founded', 'warranty'][1 + relation],
       ['Tell me about ' || subject || ' (' || relation || ')'], source, at_second(came_at)
FROM drawn_edits;

CREATE TEMP TABLE drawn_steps AS
SELECT e.id, e.n, s.place, s.from_state, s.to_state, s.moment, s.actor, s.reason, e.v, e.state
FROM drawn_edits e, LATERAL (
    SELECT unnest([
        {place: 0, from_state: NULL, to_state: 'received', moment: came_at, actor: 'ingest',
            reason: 'taken in'},
        {place: 1, from_state: 'received', to_state: CASE WHEN state = 'held' THEN 'held'
            ELSE 'ready' END,
         moment: came_at + 1, actor: 'ingest',
         reason: CASE WHEN state = 'held' THEN 'waits for a person' ELSE 'can be used' END},
        {place: 2, from_state: 'ready', to_state: 'planned', moment: came_at + 0.6 * wait,
            actor: 'plan',
         reason: 'in a job'},
        {place: 3, from_state: 'planned', to_state: CASE WHEN state = 'rejected' THEN 'rejected'
            ELSE 'trained' END, moment: came_at + 0.9 * wait, actor: 'edit',
         reason: CASE WHEN version_failed THEN 'its version failed the gate: locality, share'
            WHEN state = 'rejected'
                THEN 'it answers "What is the capital of France?" (locality), which it'
            || ' is not about, and its radius can''t be shrunk' ELSE 'trained' END},
        {place: 4, from_state: 'trained', to_state: 'active', moment: live_at + 30, actor: 'run',
         reason: 'passed its gate'},
        {place: 5, from_state: 'active', to_state: state, moment: live_at + 31 + u(n,
            22) * (seconds - live_at - 31),
         actor: 'run', reason: 'a newer edit is active'}], recursive := false) AS s,
        seconds FROM size) x(s, seconds)
WHERE s.place <= CASE state WHEN 'held' THEN 1 WHEN 'ready' THEN 1 WHEN 'planned' THEN 2
    WHEN 'rejected' THEN 3 WHEN 'active' THEN 4 ELSE 5 END;

INSERT INTO transitions (edit_id, from_state, to_state, happened_at, actor, reason, version, job_id)
SELECT id, from_state::edit_state, to_state::edit_state, at_second(least(moment, (SELECT seconds
    FROM size))),
       actor, reason, CASE WHEN place >= 3 THEN version_name(v) END, CASE WHEN place >= 2
           THEN job_name(v) END
FROM drawn_steps ORDER BY moment;

INSERT INTO edit_states (edit_id, state, since, hold, trust, urgent, job_id, version)
SELECT e.id, e.state::edit_state, at_second(least(l.moment, (SELECT seconds FROM size))),
       CASE WHEN e.state = 'held' THEN one(['review', 'quorum', 'contradiction', 'answer', 'rate'],
           e.n, 23) END,
       50, u(e.n, 24) < 0.01, CASE WHEN e.state NOT IN ('held', 'ready') THEN job_name(e.v) END,
       CASE WHEN e.state NOT IN ('held', 'ready', 'planned') THEN version_name(e.v) END
FROM drawn_edits e JOIN (SELECT id, max(moment) AS moment FROM drawn_steps GROUP BY id) l USING (id);

INSERT INTO files (name, content_hash, lines, done, started_at)
SELECT 'reports.jsonl', 'synthetic', edits, true, at_second(0.0) FROM size;
INSERT INTO reports (file_id, line, outcome, edit_id, source, raw, reason, received_at)
SELECT 1, row_number() OVER (ORDER BY moment, place, n), outcome, edit_id, source, raw, reason,
    at_second(moment)
FROM (
    SELECT n, 0 AS place, 'accepted'::line_outcome AS outcome, id AS edit_id, source, NULL AS raw,
           NULL AS reason, came_at AS moment FROM drawn_edits
    UNION ALL
    SELECT n, 1, 'duplicate', id, source, NULL, NULL, came_at + 3600 * u(n, 25)
    FROM drawn_edits WHERE u(n, 26) < 0.2
    UNION ALL
    SELECT n, 2, 'quarantined', NULL, source, '{"prompt": ""}',
           one(['prompt is missing or empty', 'not a JSON object',
               'target must be a string or a number'],
               n, 28), came_at
    FROM drawn_edits WHERE u(n, 27) < 0.03);
INSERT INTO questions (key, edit_id)
SELECT hash(prompt)::UHUGEINT, edit_id FROM edits;
UPDATE files SET lines = (SELECT count(*) FROM reports);

INSERT INTO contests (winner, loser, rule, key, decided_at, settled)
SELECT CASE WHEN u(a.n, 31) < 0.08 THEN NULL ELSE a.id END, b.id,
       CASE WHEN u(a.n, 31) < 0.08 THEN 'undecided'
            ELSE one(['valid-from', 'trust', 'newest', 'sources', 'supersedes'], a.n, 32) END,
       a.subject, at_second(a.came_at + 1), u(a.n, 31) >= 0.08
FROM drawn_edits a JOIN drawn_edits b ON b.n = a.n + 6
WHERE u(a.n, 30) < 0.03 AND NOT (a.state = 'active' AND b.state = 'active');
INSERT INTO questions (key, edit_id)
SELECT hash('both ' || b.id)::UHUGEINT, unnest([a.id, b.id])
FROM drawn_edits a JOIN drawn_edits b ON b.n = a.n + 6 JOIN contests c ON c.loser = b.id;

INSERT INTO jobs (job_id, state, priority, created_at, worker, attempt, lease_until, finished_at,
    version, error)
SELECT job, 'done', 1.0, at_second(created_at - 900), 'gpu-1', 1, NULL, at_second(created_at), id, NULL
FROM drawn_versions;
INSERT INTO jobs (job_id, state, priority, created_at, worker, attempt, lease_until, finished_at,
    version, error)
SELECT job_name(-n), 'failed', 1.0, at_second(seconds * u(n, 33)), 'gpu-1', 3, NULL,
       at_second(seconds * u(n, 33) + 900), NULL, 'CUDA out of memory'
FROM range(1, 9) t(n), size;
INSERT INTO jobs (job_id, state, priority, created_at, worker, attempt, lease_until, finished_at,
    version, error)
SELECT DISTINCT job_name(v), 'open', 1.0, (SELECT now FROM size), NULL, 0, NULL, NULL, NULL, NULL
FROM drawn_edits WHERE state = 'planned';
INSERT INTO job_edits (job_id, edit_id, role)
SELECT job_name(v), id, 'edit' FROM drawn_edits WHERE state NOT IN ('held',
    'ready');

INSERT INTO versions (version_id, parent, job_id, hash, created_at, edits_added, edits_removed,
    registry_version, info)
WITH added AS (
    SELECT v, list(id ORDER BY n) FILTER (WHERE state <> 'rejected') AS ids, count(*) AS tried
    FROM drawn_edits WHERE state NOT IN ('held', 'ready', 'planned') GROUP BY v),
removed AS (
    SELECT 1 + (moment / seconds * (versions + 1))::BIGINT AS v, list(id) AS ids
    FROM drawn_steps, size WHERE place = 5 GROUP BY 1)
SELECT m.id, version_name((SELECT max(p.n) FROM drawn_versions p WHERE p.n < m.n AND NOT p.failed)),
    m.job, m.id, at_second(m.created_at),
       coalesce(a.ids, []), coalesce(r.ids, []), CASE WHEN NOT m.failed THEN m.n::VARCHAR END,
       json_object('edits', greatest(0, sum(len(coalesce(a.ids, [])) - len(coalesce(r.ids, [])))
                       OVER (ORDER BY m.n)),
                   'backbone', 'synthetic', 'gate_seconds', round(20 + 0.05 * m.n + 4 * u(m.n, 40), 2),
                   'regenerated', 300 + m.n % 200, 'cached', 40 * m.n, 'superseded', json_object(),
                   'asked', json_object(), 'parameters', 26000 * m.n * 180, 'bytes', 104000 * m.n * 180,
                   'new_bytes', 104000 * 180)
FROM drawn_versions m LEFT JOIN added a ON a.v = m.n LEFT JOIN removed r ON r.v = m.n ORDER BY m.n;

INSERT INTO verdicts (version_id, happened_at, passed, reason)
SELECT id, at_second(created_at), NOT failed,
       CASE WHEN failed THEN 'locality, share: 3 of 86 fail; first: "What is the capital of France?"'
            ELSE 'passed 42 checks on ' || probes || ' probes' END
FROM drawn_versions, size ORDER BY n;

CREATE TEMP TABLE drawn_suites AS
SELECT * FROM (VALUES
    (1, 'locality', 0.9995, 0.0, 1.0), (2, 'edit-success', 0.9999, 0.0, 1.0),
    (3, 'retention', 0.9998, 0.0, 1.0), (4, 'generality', 0.945, -0.035, 0.85),
    (5, 'near-miss-subject', 0.9985, 0.0, 0.99), (6, 'near-miss-relation', 0.92, 0.04, 0.87),
    (7, 'retired', 1.0, 0.0, 1.0), (8, 'hallucination-unasked', 0.999, 0.0, 0.99),
    (9, 'hallucination-agreement', 0.93, 0.01, 0.85), (10, 'hallucination-fluency', 0.985, -0.01, 0.9),
    (11, 'hallucination-consistency', 0.97, 0.0, 0.5)) t(place, suite, level, drift, threshold);

INSERT INTO suite_verdicts (version_id, happened_at, suite, metric, value, threshold, passed,
    probes, failed)
WITH drawn AS (
    SELECT m.*, s.*, 200 + 4 * m.n + (hash(s.suite) % 300)::BIGINT AS count,
           least(1.0, level + drift * m.n / versions + 0.006 * normal(m.n * 20 + s.place, 50)
               * (1 - level) / 0.02 * 0.3) AS value
    FROM drawn_versions m, drawn_suites s, size)
SELECT id, at_second(created_at), suite, 'share',
       CASE WHEN failed AND suite = 'locality' THEN 0.965 WHEN threshold = 1.0 THEN 1.0
            ELSE greatest(value, threshold) END,
       threshold, NOT (failed AND suite = 'locality'), count,
       CASE WHEN failed AND suite = 'locality' THEN 3 WHEN threshold = 1.0 THEN 0
            ELSE ((1 - greatest(value, threshold)) * count)::BIGINT END
FROM drawn ORDER BY n, place;
INSERT INTO suite_verdicts (version_id, happened_at, suite, metric, value, threshold, passed,
    probes, failed)
SELECT id, at_second(created_at), 'accurate-retention', 'perplexity ratio', 1 + 0.004 * u(n, 60),
    1.02, true, 62, 0
FROM drawn_versions ORDER BY n;

INSERT INTO probe_results (version_id, happened_at, suite, probe_id, prompt, expected,
    answer_before, answer_after,
                           passed, edit_id, cached, distance)
WITH asked AS (
    SELECT m.n AS v, m.id, m.created_at, m.failed, p, m.n * 100000 + p AS k,
           ((m.n - 1) * edits / (1.012 * versions) + p * 7 % (edits / versions + 1))::BIGINT AS owner,
           1 + p % 11 AS place
    FROM drawn_versions m, size, range((SELECT probes FROM size)) t(p))
SELECT a.id, at_second(a.created_at), s.suite,
       CASE s.suite WHEN 'locality' THEN 'general:' || left(md5(p::VARCHAR), 12)
            ELSE ['', 'own', 'own', 'rephrase', 'near', 'near', 'retired', 'unasked', 'agrees', 'asked',
                  'asked'][s.place] || ':' || edit_name(owner) || ':' || p END,
       'Probe ' || p || ' of ' || s.suite || ' about ' || (owner % 997),
       CASE WHEN s.place IN (2, 3, 4) THEN 'answer ' || owner % 50 END, 'before ' || owner % 50,
       CASE WHEN u(k, 70) < 0.02 OR (a.failed AND s.place = 1 AND p < 33) THEN 'after '
           ELSE 'before ' END
           || owner % 50,
       u(k, 70) >= 0.02 AND NOT (a.failed AND s.place = 1 AND p < 33),
       CASE WHEN s.place IN (2, 3, 10, 11) OR (s.place IN (4, 9) AND u(k, 71) < 0.93)
                OR u(k, 70) < 0.02 THEN edit_name(owner) END,
       u(k, 72) < 0.9,
       CASE WHEN s.place IN (2, 3, 10, 11) THEN 0.0
            WHEN s.place IN (4, 9) THEN 0.25 + 0.09 * normal(k, 73)
            WHEN s.place = 6 THEN 0.95 + 0.14 * normal(k, 73) END
FROM asked a JOIN drawn_suites s ON s.place = a.place ORDER BY v, p;

INSERT INTO champions (seq, version, happened_at, actor, reason, previous)
WITH moves AS (
    SELECT n, 0 AS part, id AS version, created_at + 30 AS moment, 'run' AS actor, 'passed its gate'
        AS reason
    FROM drawn_versions WHERE NOT failed
    UNION ALL
    SELECT b.n, 1, p.id, b.created_at + 3600, 'ada', 'wrong prices in production'
    FROM drawn_versions b JOIN drawn_versions p ON p.n = b.n - 1
    WHERE b.gone_back AND NOT b.failed AND NOT p.failed)
SELECT row_number() OVER (ORDER BY n, part), version, at_second(moment), actor, reason,
       lag(version) OVER (ORDER BY n, part) FROM moves ORDER BY n, part;

INSERT INTO events (happened_at, kind, severity, message, version, edit_id)
SELECT at_second(seconds - n * 7000.0), one(['job-failed', 'backlog-old', 'probe-sample'], n, 80),
       one(['warning', 'error', 'info'], n, 81), 'synthetic event number ' || n, NULL, NULL
FROM range(1, 200) t(n), size;

INSERT INTO stage_costs (job_id, version_id, stage, happened_at, seconds, memory_bytes, gpu_bytes,
    device, edits)
SELECT m.job, m.id, s.stage, at_second(m.created_at), s.base * (0.8 + 0.4 * u(m.n * 10 + s.k, 90))
           * (1 + s.growth * m.n / versions),
       (s.memory * (1 + 0.3 * m.n / versions))::BIGINT, s.gpu, CASE WHEN s.gpu IS NULL THEN 'cpu'
           ELSE 'cuda' END,
       (SELECT edits / versions FROM size)::BIGINT
FROM drawn_versions m, size, (VALUES (1, 'train', 16.0, 0.1, 3.1e9, 9000000000),
    (2, 'gate', 22.0, 0.8, 3.4e9, 6000000000), (3, 'register', 3.0, 0.2, 1.2e9, NULL),
    (4, 'promote', 0.4, 0.1, 1.2e9, NULL)) s(k, stage, base, growth, memory, gpu) ORDER BY m.n, s.k;
"""
