"""From raw lines to checked candidates, in SQL.

    lines(line, raw)  ──►  staged(line, raw, problem, edit_id, prompt, target, ...)

A line with a `problem` is quarantined as it came; every other one has an `edit_id`, the hash of
what it says: question and answer. Values from the data reach SQL as values only; the JSON paths
of a mapping are bound as parameters too.
"""

from __future__ import annotations

import json

import pyarrow as pa

from ledger.store import Connection
from ledger.types import Limits, Mapping, RelationTemplates

FIELDS = (
    "prompt", "target", "subject", "relation", "object", "old_answer", "rephrases", "locality",
    "aliases", "source", "id", "valid_from", "valid_to", "supersedes", "urgent",
)  # fmt: skip

DEFAULT_PATHS: dict[str, tuple[str, ...]] = {
    **{name: (f"$.{name}",) for name in FIELDS},
    "valid_from": ("$.valid_from", "$.reported_at"),
}

_TEXT_FIELDS = ("prompt", "subject", "relation", "source", "id", "valid_from", "valid_to")
_ANSWER_FIELDS = ("target", "object", "old_answer")
_LIST_FIELDS = ("rephrases", "aliases", "supersedes")

MACROS = r"""
CREATE OR REPLACE TEMP MACRO clean(t) AS
    nullif(trim(nfc_normalize(regexp_replace(t, '[\x{200B}\x{FEFF}\x{0000}-\x{0008}]', '', 'g')),
                E' \t\n\r'), '');
CREATE OR REPLACE TEMP MACRO question_of(t) AS
    regexp_replace(regexp_replace(lower(t), '\s+', ' ', 'g'), '[ ?.!:]+$', '');
CREATE OR REPLACE TEMP MACRO moment(t) AS
    try_cast(CASE length(t) WHEN 4 THEN t || '-01-01' WHEN 7 THEN t || '-01' ELSE t END
             AS TIMESTAMPTZ);
CREATE OR REPLACE TEMP MACRO texts(j) AS CASE json_type(j)
    WHEN 'ARRAY' THEN from_json(j, '["VARCHAR"]')
    WHEN 'VARCHAR' THEN [j->>'$'] END;
CREATE OR REPLACE TEMP MACRO only_texts(j) AS CASE json_type(j)
    WHEN 'ARRAY' THEN len(list_filter(json_type(j, '$[*]'), lambda x: x <> 'VARCHAR')) = 0
    WHEN 'VARCHAR' THEN true WHEN 'NULL' THEN true ELSE j IS NULL END;
CREATE OR REPLACE TEMP MACRO cleaned(l) AS
    list_distinct(list_filter(list_transform(l, lambda x: clean(x)), lambda x: x IS NOT NULL));
"""


def stage(
    con: Connection,
    lines: pa.Table,
    *,
    mapping: Mapping,
    templates: tuple[RelationTemplates, ...],
    fallback_source: str,
    forced_source: str | None,
    limits: Limits,
) -> None:
    """Fill the temp table `staged` from an Arrow table: line (int64), raw, unreadable (string).

    `unreadable` carries the reader's own reason where a line could not even be read.
    """
    con.execute(MACROS)
    paths: list[str] = []
    value: dict[str, str] = {}
    for name in FIELDS:
        wanted = mapping.fields.get(name) or DEFAULT_PATHS[name]
        places = range(len(paths) + 1, len(paths) + 1 + len(wanted))
        value[name] = f"coalesce({', '.join(f'f[{place}]' for place in places)})"
        paths.extend(wanted)
    _register_templates(con, templates)
    con.register("lines", lines)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE opened AS
        SELECT line, raw, unreadable, opens,
               {", ".join(f"{value[name]} AS {name}" for name in FIELDS)}
        FROM (SELECT line, raw, unreadable, coalesce(json_type(try(raw::JSON)) = 'OBJECT', false)
                     AS opens,
                     CASE WHEN opens THEN json_extract(raw, ?) END AS f
              FROM (SELECT line, raw, unreadable FROM lines))""",
        [paths],
    )
    con.unregister("lines")
    shape = json.dumps([{mapping.locality_prompt: "VARCHAR", mapping.locality_answer: "VARCHAR"}])
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE read AS
        SELECT line, raw, unreadable, opens,
               {", ".join(f"clean({name}->>'$') AS {name}" for name in _TEXT_FIELDS)},
               {", ".join(f"clean({name}->>'$') AS {name}" for name in _ANSWER_FIELDS)},
               {", ".join(f"cleaned(texts({name})) AS {name}" for name in _LIST_FIELDS)},
               list_filter(list_transform(from_json(locality, ?), lambda x: struct_pack(
                   prompt := clean(x[?]), answer := clean(x[?]))),
                   lambda x: x.prompt IS NOT NULL) AS locality,
               coalesce(urgent->>'$' IN ('true', '1', 'yes'), false) AS urgent,
               {_first_wrong_type()} AS wrong_type
        FROM opened""",
        [shape, mapping.locality_prompt, mapping.locality_answer],
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE worded AS
        SELECT r.* EXCLUDE (prompt, target, rephrases, source, valid_from, valid_to),
               CASE WHEN r.prompt IS NULL AND r.relation IS NOT NULL AND r.subject IS NOT NULL
                    THEN 'fact' ELSE 'report' END AS kind,
               CASE WHEN kind = 'fact'
                    THEN replace(replace(coalesce(t.templates, g.templates)[1],
                                         '{subject}', r.subject), '{relation}', r.relation)
                    ELSE CASE WHEN contains(r.prompt, '{}') AND r.subject IS NOT NULL
                              THEN replace(r.prompt, '{}', r.subject) ELSE r.prompt END
               END AS prompt,
               CASE WHEN kind = 'fact' THEN coalesce(r.object, r.target)
                    ELSE r.target END AS target,
               CASE WHEN kind = 'fact' THEN list_distinct(list_concat(coalesce(r.rephrases, []),
                    list_transform(coalesce(t.templates, g.templates)[2:], lambda x:
                        replace(replace(x, '{subject}', r.subject), '{relation}', r.relation))))
                    ELSE r.rephrases END AS rephrases,
               coalesce(?, r.source, ?) AS source,
               r.valid_from AS valid_from_text, r.valid_to AS valid_to_text,
               moment(r.valid_from) AS valid_from, moment(r.valid_to) AS valid_to
        FROM read r
        LEFT JOIN relation_templates t ON t.relation = lower(r.relation)
        LEFT JOIN relation_templates g ON g.relation = '*'""",
        [forced_source, fallback_source],
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE staged AS
        SELECT w.* EXCLUDE (unreadable, opens, wrong_type, valid_from_text, valid_to_text, object),
               CASE
               WHEN unreadable IS NOT NULL THEN unreadable
               WHEN NOT opens AND trim(raw, E' \t\n\r') = '' THEN 'the line is empty'
               WHEN NOT opens THEN 'not a JSON object'
               WHEN wrong_type IS NOT NULL THEN wrong_type
               WHEN prompt IS NULL AND (relation IS NOT NULL OR object IS NOT NULL)
                    THEN 'a fact needs subject, relation and object; subject or relation is missing'
               WHEN prompt IS NULL THEN 'prompt is missing or empty'
               WHEN kind = 'fact' AND target IS NULL THEN 'a fact needs an object; it is missing'
               WHEN length(prompt) > $prompt_chars THEN 'prompt has ' || length(prompt)
                    || ' characters; at most ' || $prompt_chars || ' are taken'
               WHEN length(target) > $target_chars THEN 'target has ' || length(target)
                    || ' characters; at most ' || $target_chars || ' are taken'
               WHEN len(rephrases) > $items OR len(locality) > $items OR len(aliases) > $items
                    THEN 'a list has more than ' || $items || ' items'
               WHEN len(list_filter(rephrases, lambda x: length(x) > $prompt_chars)) > 0
                    THEN 'a rephrase has more than ' || $prompt_chars || ' characters'
               WHEN len(list_filter(locality, lambda x: length(x.prompt) > $prompt_chars)) > 0
                    THEN 'a locality prompt has more than ' || $prompt_chars || ' characters'
               WHEN valid_from_text IS NOT NULL AND valid_from IS NULL
                    THEN 'valid_from is no date: ' || left(valid_from_text, 40)
               WHEN valid_to_text IS NOT NULL AND valid_to IS NULL
                    THEN 'valid_to is no date: ' || left(valid_to_text, 40)
               WHEN valid_to <= valid_from THEN 'valid_to is not after valid_from'
               WHEN target = old_answer THEN 'target and old_answer are the same'
               END AS problem,
               question_of(prompt) AS question,
               CASE WHEN problem IS NULL
                    THEN left(sha256(question || chr(31) || coalesce(target, chr(30))), 32)
               END AS edit_id
        FROM worded w""",
        {
            "prompt_chars": limits.prompt_chars,
            "target_chars": limits.target_chars,
            "items": limits.list_items,
        },
    )
    con.execute("DROP TABLE opened; DROP TABLE read; DROP TABLE worded")


def _register_templates(con: Connection, templates: tuple[RelationTemplates, ...]) -> None:
    known = {t.relation.lower(): list(t.templates) for t in templates}
    known.setdefault("*", ["What is the {relation} of {subject}?"])
    con.register(
        "given_templates",
        pa.table(
            {
                "relation": pa.array(list(known), pa.string()),
                "templates": pa.array(list(known.values()), pa.list_(pa.string())),
            }
        ),
    )
    con.execute("CREATE OR REPLACE TEMP TABLE relation_templates AS SELECT * FROM given_templates")
    con.unregister("given_templates")


def _first_wrong_type() -> str:
    """SQL that names the first field whose JSON type does not fit."""
    cases = [
        f"WHEN coalesce(json_type({name}), 'NULL') NOT IN ('VARCHAR', 'NULL') "
        f"THEN '{name} must be a string'"
        for name in _TEXT_FIELDS
    ]
    cases += [
        f"WHEN coalesce(json_type({name}), 'NULL') NOT IN "
        "('VARCHAR', 'NULL', 'UBIGINT', 'BIGINT', 'DOUBLE') "
        f"THEN '{name} must be a string or a number'"
        for name in _ANSWER_FIELDS
    ]
    cases += [
        f"WHEN NOT only_texts({name}) THEN '{name} must be a list of strings'"
        for name in _LIST_FIELDS
    ]
    cases.append(
        "WHEN coalesce(json_type(locality), 'NULL') NOT IN ('ARRAY', 'NULL') "
        "THEN 'locality must be a list of {prompt, answer}'"
    )
    return f"CASE {' '.join(cases)} END"
