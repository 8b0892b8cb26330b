"""From raw lines to checked candidates, in one pass of SQL.

    lines(line, raw, unreadable)  ──►  staged(line, raw, problem, edit_id, outcome, prompt, target, ...)

A prompt is a text or a list of messages; then `prompt` is what is asked, the last user message, and
`messages` the whole. A line with a `problem` is quarantined as it came; every other one has an
`edit_id`, the hash of what it says: question and answer. `outcome` is left to the intake.

JSON is read by the standard: NaN, which tools write although JSON has none, counts as null; Infinity is
refused, and so is an object that says one key twice. Values from the data reach SQL as values only; the
JSON paths of a mapping are bound as parameters.
"""

from __future__ import annotations

import json

import pyarrow as pa

from ledger.json_paths import inner_objects
from ledger.statements import statement
from ledger.store import Connection
from ledger.types import IntakeRules, Mapping, RelationTemplates

FIELDS = tuple(
    (
        "prompt target subject relation object old_answer rephrases locality aliases source id "
        "valid_from valid_to supersedes urgent"
    ).split()
)

DEFAULT_PATHS: dict[str, tuple[str, ...]] = {
    **{name: (f"$.{name}",) for name in FIELDS},
    "valid_from": ("$.valid_from", "$.reported_at"),
}

IDENTITIES = "identities"  # the table of edits whose hash was made by an older rule

_TEXT_FIELDS = ("prompt", "subject", "relation", "source", "id", "valid_from", "valid_to")
_ANSWER_FIELDS = ("target", "object", "old_answer")
_LIST_FIELDS = ("rephrases", "aliases", "supersedes")
_NAME_FIELDS = ("subject", "source", "id")  # a whole number is a name too
_DATE_FIELDS = ("valid_from", "valid_to")
_LISTS_OF_NAMES = ("aliases", "supersedes")


def stage(
    con: Connection,
    lines: pa.Table,
    rules: IntakeRules,
    *,
    fallback_source: str,
    forced_source: str | None,
) -> None:
    """Fill the temp table `staged` from an Arrow table: line (int64), raw, unreadable (string).

    `unreadable` carries the reader's own reason where a line could not even be read.
    """
    mapping, limits = rules.mapping, rules.limits
    con.execute(statement("macros").sql)
    _register_templates(con, rules.templates)
    con.register("lines", lines)
    paths: list[str] = []
    picks: list[str] = []
    for name in FIELDS:
        wanted = mapping.fields.get(name) or DEFAULT_PATHS[name]
        places = range(len(paths) + 1, len(paths) + 1 + len(wanted))
        value = _either(f"v[{place}]" for place in places)
        # A JSON null stands aside for the next path.
        kind = _either(f"nullif(k[{place}], 'NULL')" for place in places)
        picks += [f"{value} AS t_{name}", f"{kind} AS k_{name}"]
        paths.extend(wanted)
    around = (
        "list_transform(from_json(CASE WHEN k_locality = 'ARRAY' THEN t_locality END, $shape), "
        "lambda x: struct_pack(prompt := x[$about], answer := inner_text(x[$says])))"
    )
    parameters: dict[str, object] = {
        "shape": json.dumps(
            [{mapping.locality_prompt: "VARCHAR", mapping.locality_answer: "VARCHAR"}]
        ),
        "about": mapping.locality_prompt,
        "says": mapping.locality_answer,
    }
    calm = "tidy_list(t_locality, tidy)"
    if mapping.side_by_side is not None:
        parameters, calm = {}, "false"
        columns = []
        for wanted in mapping.side_by_side:
            places = range(len(paths) + 1, len(paths) + 1 + len(wanted))
            value, kind = _either(f"v[{n}]" for n in places), _either(f"k[{n}]" for n in places)
            columns.append(f"texts({value}, {kind})")
            paths.extend(wanted)
        picks.append(f"beside({', '.join(columns)}) AS pairs")
        around = "pairs"
    objects, lists = _objects_read(mapping)
    doubled = ["doubled(keys)"]
    if not mapping.fields:  # as many keys as there are fields: none comes twice
        doubled = ["CASE WHEN list_count(types) = len(keys) THEN false ELSE doubled(keys) END"]
    if objects:
        doubled.append("any_doubled(json_keys(raw, $objects))")
        parameters["objects"] = objects
    for place, path in enumerate(lists):
        doubled.append(f"any_doubled(json_keys(raw, $list_{place}))")
        parameters[f"list_{place}"] = path
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE staged AS
        WITH unmarked AS (
            SELECT line, raw AS original, unreadable,
                   CASE WHEN starts_with(raw, '\ufeff') THEN ltrim(raw, '\ufeff') ELSE raw END AS raw
            FROM lines),
        parsed AS (
            SELECT line, original, raw, unreadable,
                   unreadable IS NULL AND starts_with(ltrim(raw, E' \\t\\n\\r'), '{{')
                       AND json_valid(raw) AS opens, CASE WHEN opens THEN raw END AS object
            FROM unmarked),
        typed AS (
            SELECT *, json_type(object, $paths) AS types, json_keys(object) AS keys FROM parsed),
        strict AS (
            SELECT line, original, unreadable, opens, raw, types,
                   CASE WHEN NOT opens THEN raw WHEN no_number(raw) THEN strict_json(raw)
                        {" ".join(f"WHEN {keys} THEN strict_json(raw)" for keys in doubled)}
                        ELSE raw END AS sound
            FROM typed),
        opened AS (
            SELECT line, original, raw, opens, tidy,
                   CASE WHEN refused THEN substr(raw, 2) ELSE unreadable END AS unreadable,
                   json_extract_string(object, $paths) AS v,
                   CASE WHEN changed THEN json_type(object, $paths) ELSE types END AS k
            FROM (SELECT line, original, unreadable, types, sound AS raw,
                         opens AND NOT starts_with(sound, '!') AS opens,
                         CASE WHEN opens AND NOT starts_with(sound, '!') THEN sound END AS object,
                         opens AND starts_with(sound, '!') AS refused,
                         sound <> raw AS changed,
                         strlen(sound) = length(sound) AND NOT contains(sound, '\\u')
                             AND NOT contains(sound, '\\b') AS tidy
                  FROM strict)),
        picked AS (
            SELECT line, original, raw, unreadable, opens, tidy, {", ".join(picks)},
                   CASE WHEN k_prompt = 'ARRAY' THEN asked_in(t_prompt) END AS last_asked
            FROM opened),
        read AS (
            SELECT line, original AS raw, unreadable, opens, tidy,
                   CASE WHEN k_prompt = 'ARRAY' THEN t_prompt END AS messages,
                   CASE WHEN k_prompt = 'ARRAY' THEN clean(substr(last_asked, 2), tidy)
                        ELSE clean(t_prompt, tidy) END AS prompt,
                   {", ".join(f"{_text_of(n)} AS {n}" for n in _TEXT_FIELDS[1:])},
                   {", ".join(f"answer(t_{n}, k_{n}, tidy) AS {n}" for n in _ANSWER_FIELDS)},
                   {", ".join(f"cleaned(t_{n}, k_{n}, tidy) AS {n}" for n in _LIST_FIELDS)},
                   {around} AS around, {calm} AS calm,
                   coalesce(lower(t_urgent) IN ('true', '1', 'yes'), false) AS urgent,
                   {_first_wrong_type()} AS wrong_type
            FROM picked),
        worded AS (
            SELECT r.* EXCLUDE (prompt, target, rephrases, source, valid_from, valid_to, around),
                   CASE WHEN r.prompt IS NULL AND r.relation IS NOT NULL AND r.subject IS NOT NULL
                        THEN 'fact' ELSE 'report' END AS kind,
                   CASE WHEN kind = 'fact' THEN replace(replace(coalesce(t.templates, g.templates)
                            [1], '{{subject}}', r.subject), '{{relation}}', r.relation)
                        WHEN r.subject IS NOT NULL AND contains(r.prompt, '{{}}')
                        THEN replace(r.prompt, '{{}}', r.subject) ELSE r.prompt END AS prompt,
                   CASE WHEN kind = 'fact' THEN coalesce(r.object, r.target)
                        ELSE r.target END AS target,
                   CASE WHEN kind = 'fact' THEN list_distinct(list_concat(
                            coalesce(r.rephrases, []),
                            list_transform(coalesce(t.templates, g.templates)[2:], lambda x:
                                replace(replace(x, '{{subject}}', r.subject),
                                        '{{relation}}', r.relation))))
                        ELSE r.rephrases END AS rephrases,
                   CASE WHEN len(r.around) > 0 THEN list_filter(
                            CASE WHEN r.calm THEN r.around ELSE list_transform(r.around,
                                lambda x: struct_pack(prompt := scrubbed(x.prompt),
                                                      answer := scrubbed(x.answer))) END,
                            lambda x: x.prompt IS NOT NULL) END AS locality,
                   len(r.around) AS around,
                   coalesce($forced, r.source, $fallback) AS source,
                   r.valid_from AS from_text, r.valid_to AS to_text,
                   moment(r.valid_from) AS valid_from, moment(r.valid_to) AS valid_to
            FROM read r
            LEFT JOIN relation_templates t ON t.relation = lower(r.relation)
            CROSS JOIN (SELECT templates FROM relation_templates WHERE relation = '*') g),
        asked AS (
            SELECT *, normalize_question(CASE WHEN messages IS NULL THEN prompt
                                              ELSE said_in(messages) END) AS question
            FROM worded),
        checked AS (
            SELECT * EXCLUDE (unreadable, opens, wrong_type, from_text, to_text, object, tidy,
                              around, calm), {_PROBLEM} AS problem
            FROM asked),
        named AS (
            SELECT *, CASE WHEN problem IS NULL
                           THEN left(sha256(question || chr(31) || coalesce(target, chr(30))), 32)
                      END AS identity
            FROM checked)
        SELECT n.* EXCLUDE (identity), coalesce(i.edit_id, n.identity) AS edit_id,
               NULL::VARCHAR AS outcome
        FROM named n LEFT JOIN {IDENTITIES} i USING (identity)""",
        {
            "paths": paths,
            **parameters,
            "forced": forced_source,
            "fallback": fallback_source,
            "prompt_chars": limits.prompt_chars,
            "target_chars": limits.target_chars,
            "items": limits.list_items,
        },
    )
    con.unregister("lines")
    con.unregister("relation_templates")


_PROBLEM = """CASE
    WHEN unreadable IS NOT NULL THEN unreadable
    WHEN NOT opens AND trim(raw, E' \\t\\n\\r\ufeff') = '' THEN 'the line is empty'
    WHEN NOT opens THEN 'not a JSON object'
    WHEN wrong_type IS NOT NULL THEN wrong_type
    WHEN prompt IS NULL AND (relation IS NOT NULL OR object IS NOT NULL)
         THEN 'a fact needs subject, relation and object; subject or relation is missing'
    WHEN prompt IS NULL THEN 'prompt is missing or empty' || names_of(raw)
    WHEN kind = 'fact' AND target IS NULL THEN 'a fact needs an object; it is missing'
    WHEN strlen(prompt) > $prompt_chars AND length(prompt) > $prompt_chars THEN 'prompt has '
         || length(prompt) || ' characters; at most ' || $prompt_chars || ' are taken'
    WHEN strlen(target) > $target_chars AND length(target) > $target_chars THEN 'target has '
         || length(target) || ' characters; at most ' || $target_chars || ' are taken'
    WHEN len(rephrases) > $items OR around > $items OR len(aliases) > $items
         OR len(supersedes) > $items THEN 'a list has more than ' || $items || ' items'
    WHEN around > coalesce(len(locality), 0)
         THEN 'locality must be a list of {prompt, answer}; an item has no prompt'
    WHEN strlen(raw) > $prompt_chars AND len(list_filter(rephrases,
         lambda x: length(x) > $prompt_chars)) > 0
         THEN 'a rephrase has more than ' || $prompt_chars || ' characters'
    WHEN strlen(raw) > $prompt_chars AND len(list_filter(locality,
         lambda x: length(x.prompt) > $prompt_chars)) > 0
         THEN 'a locality prompt has more than ' || $prompt_chars || ' characters'
    WHEN from_text IS NOT NULL AND valid_from IS NULL
         THEN no_date('valid_from', from_text)
    WHEN to_text IS NOT NULL AND valid_to IS NULL
         THEN no_date('valid_to', to_text)
    WHEN valid_to <= valid_from THEN 'valid_to is not after valid_from'
    WHEN target = old_answer THEN 'target and old_answer are the same'
    WHEN target IN ('inf', '-inf') THEN 'target is ' || target || ', which is no answer'
    WHEN CASE WHEN subject IS NULL OR kind = 'fact' OR contains(prompt, subject) THEN false
              WHEN messages IS NOT NULL
              THEN NOT subject_may_stand_in(said_in(messages), subject, aliases)
              ELSE NOT subject_may_stand_in(prompt, subject, aliases) END
         THEN 'subject "' || left(subject, 80) || '" is not in the prompt, nor is an alias; correct '
              || 'it, add an alias that is, or leave the subject out'
    END"""


def _objects_read(mapping: Mapping) -> tuple[list[str], list[str]]:
    """Paths of the objects inside a document, and of the lists of objects, that fields are read from."""
    side_by_side = mapping.side_by_side or ()
    inner = {
        outer
        for wanted in (*mapping.fields.values(), *side_by_side)
        for path in wanted
        for outer in inner_objects(path)
    }
    lists = mapping.fields.get("locality") or DEFAULT_PATHS["locality"]
    return sorted(inner), [f"{path}[*]" for path in lists]


def _either(expressions: object) -> str:
    listed = list(expressions)  # type: ignore[call-overload]
    return listed[0] if len(listed) == 1 else f"coalesce({', '.join(listed)})"


def _register_templates(con: Connection, templates: tuple[RelationTemplates, ...]) -> None:
    by_relation = {t.relation.lower(): list(t.templates) for t in templates}
    by_relation.setdefault("*", ["What is the {relation} of {subject}?"])
    con.register(
        "relation_templates",
        pa.table(
            {
                "relation": pa.array(list(by_relation), pa.string()),
                "templates": pa.array(list(by_relation.values()), pa.list_(pa.string())),
            }
        ),
    )


def _text_of(name: str) -> str:
    """SQL of a field's text; of a name that is a whole number, its digits."""
    text = f"clean(t_{name}, tidy)"
    if name not in _NAME_FIELDS:
        return text
    return f"CASE WHEN is_name(t_{name}, k_{name}) THEN digits(t_{name}) ELSE {text} END"


def _first_wrong_type() -> str:
    """SQL that names the first field whose JSON type does not fit, what it is and what is allowed."""

    def refused(name: str, allowed: str) -> str:
        return f"'{name} must be {allowed}; it is ' || kind_in_words(k_{name}, t_{name})"

    cases = [
        "WHEN k_prompt NOT IN ('VARCHAR', 'ARRAY') THEN "
        + refused("prompt", "a string or a list of messages"),
        "WHEN k_prompt = 'ARRAY' AND starts_with(last_asked, '!') THEN substr(last_asked, 2)",
    ]
    for name in _TEXT_FIELDS[1:]:
        if name in _NAME_FIELDS:
            cases.append(
                f"WHEN k_{name} <> 'VARCHAR' AND NOT is_name(t_{name}, k_{name}) THEN "
                + refused(name, "a string or a whole number")
            )
        elif name in _DATE_FIELDS:  # a number may be a year or 20261001; `no_date` tells any other
            cases.append(
                f"WHEN k_{name} IN ('ARRAY', 'OBJECT', 'BOOLEAN') THEN " + refused(name, "a date")
            )
        else:
            cases.append(f"WHEN k_{name} <> 'VARCHAR' THEN " + refused(name, "a string"))
    cases += [
        f"WHEN k_{name} IN ('ARRAY', 'OBJECT') THEN "
        + refused(name, "a string, a number, true or false")
        for name in _ANSWER_FIELDS
    ]
    for name in _LIST_FIELDS:
        check, allowed = (
            ("only_names", "a list of strings or whole numbers")
            if name in _LISTS_OF_NAMES
            else ("only_texts", "a list of strings")
        )
        cases.append(
            f"WHEN NOT {check}(t_{name}, k_{name}) THEN "
            f"'{name} must be {allowed}; it is ' || list_in_words(t_{name}, k_{name})"
        )
    cases.append(
        "WHEN k_locality <> 'ARRAY' THEN " + refused("locality", "a list of {prompt, answer}")
    )
    return f"CASE {' '.join(cases)} END"
