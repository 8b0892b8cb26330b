-- What staging calls to read one line's fields.
-- `tidy` rows are ASCII, and no escape in them spells anything else: there Unicode needs no normalising, and a
-- look at a text's ends tells whether there is anything to trim. A list is looked at as JSON, without escapes.
CREATE OR REPLACE TEMP MACRO white_space() AS
    chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(32) || chr(133) || chr(160) ||
    chr(5760) || chr(8192) || chr(8193) || chr(8194) || chr(8195) || chr(8196) || chr(8197) ||
    chr(8198) || chr(8199) || chr(8200) || chr(8201) || chr(8202) || chr(8232) || chr(8233) ||
    chr(8239) || chr(8287) || chr(12288);
CREATE OR REPLACE TEMP MACRO present(t) AS CASE WHEN t IN ('', 'NaN', 'nan') THEN NULL ELSE t END;
CREATE OR REPLACE TEMP MACRO scrubbed(t) AS
    present(trim(nfc_normalize(regexp_replace(t, '[\x{200B}\x{FEFF}\x{0000}-\x{0008}]', '', 'g')),
                 white_space()));
CREATE OR REPLACE TEMP MACRO clean(t, tidy) AS CASE WHEN t IS NULL OR t IN ('NaN', 'nan') THEN NULL
    WHEN tidy AND t >= '!' AND right(t, 1) >= '!' THEN t ELSE scrubbed(t) END;
CREATE OR REPLACE TEMP MACRO answer(t, kind, tidy) AS CASE WHEN kind = 'BOOLEAN'
    THEN CASE t WHEN 'true' THEN 'True' ELSE 'False' END ELSE clean(t, tidy) END;
CREATE OR REPLACE TEMP MACRO says_nan(t) AS contains(t, '"NaN"') OR contains(t, '"nan"');
CREATE OR REPLACE TEMP MACRO no_number(t) AS
    CASE WHEN contains(t, 'nan') OR contains(t, 'NaN') OR contains(t, 'NAN') OR contains(t, 'Nan')
           OR contains(t, 'inf') OR contains(t, 'Inf') OR contains(t, 'INF')
         THEN regexp_matches(t, '(?i)[:,\[]\s*[-+]?(nan|inf)') ELSE false END;
CREATE OR REPLACE TEMP MACRO doubled(keys) AS list_unique(keys) < len(keys);
CREATE OR REPLACE TEMP MACRO any_doubled(keys) AS
    list_bool_or(list_transform(keys, lambda x: doubled(x)));
CREATE OR REPLACE TEMP MACRO inner_text(t) AS CASE WHEN starts_with(t, '["') AND json_valid(t)
    THEN t->>'$[0]' WHEN starts_with(t, '[["') AND json_valid(t) THEN t->>'$[0][0]' ELSE t END;
CREATE OR REPLACE TEMP MACRO beside(ps, answers) AS list_transform(ps, lambda x, i:
    struct_pack(prompt := x, answer := answers[least(i, len(answers))]));
CREATE OR REPLACE TEMP MACRO moment(t) AS
    try_cast(CASE WHEN length(t) = 4 THEN t || '-01-01' WHEN length(t) = 7 THEN t || '-01'
                  WHEN length(t) >= 8 AND regexp_full_match(t, '[0-9]{8}(T[0-9]{2}[0-9:.]*(Z|[+-][0-9:]+)?)?')
                  THEN substr(t, 1, 4) || '-' || substr(t, 5, 2) || '-' || substr(t, 7, 2) ||
                       regexp_replace(substr(t, 9), '^T([0-9]{2})([0-9]{2})([0-9]{2})?', 'T\1:\2:\3')
                  ELSE t END AS TIMESTAMPTZ);
CREATE OR REPLACE TEMP MACRO no_date(name, t) AS CASE
    WHEN regexp_full_match(t, '-?[0-9]+([.][0-9]+)?')
    THEN name || ' is the number ' || left(t, 40) || '; a count of seconds or days is not taken'
    ELSE name || ' is no date: ' || left(t, 40) END ||
    '. Write 2026-10-01, 2026-10, 2026, 20261001 or 2026-10-01T12:30:00Z, or leave it out';
CREATE OR REPLACE TEMP MACRO names_of(t) AS CASE WHEN json_valid(t) AND len(json_keys(t)) > 0
    THEN '; the line has: ' ||
         left(array_to_string(list_transform(json_keys(t)[1:12], lambda x: left(x, 40)), ', '), 300) ||
         '. Write the question under prompt, or name its key in a preset (--preset)'
    ELSE '. Write the question under prompt' END;
CREATE OR REPLACE TEMP MACRO texts(t, kind) AS
    CASE kind WHEN 'ARRAY' THEN from_json(t, '["VARCHAR"]') WHEN 'VARCHAR' THEN [t]
              WHEN 'UBIGINT' THEN [t] WHEN 'BIGINT' THEN [t] END;
CREATE OR REPLACE TEMP MACRO digits(t) AS regexp_replace(t, '\.0+$', '');
CREATE OR REPLACE TEMP MACRO is_name(t, kind) AS CASE kind WHEN 'VARCHAR' THEN false
    WHEN 'UBIGINT' THEN true WHEN 'BIGINT' THEN true
    WHEN 'DOUBLE' THEN regexp_full_match(t, '-?[0-9]+(\.0+)?') ELSE false END;
CREATE OR REPLACE TEMP MACRO kind_in_words(kind, t) AS CASE kind WHEN 'ARRAY' THEN 'a list'
    WHEN 'OBJECT' THEN 'an object' WHEN 'VARCHAR' THEN 'a text' WHEN 'BOOLEAN' THEN t
    ELSE 'the number ' || left(t, 40) END;
CREATE OR REPLACE TEMP MACRO tidy_list(t, tidy) AS
    tidy AND NOT contains(t, '\') AND NOT contains(t, '" ') AND NOT contains(t, ' "') AND NOT contains(t, '""')
    AND NOT says_nan(t);
CREATE OR REPLACE TEMP MACRO only_texts(t, kind) AS CASE kind
    WHEN 'ARRAY' THEN len(list_filter(json_type(t, '$[*]'), lambda x: x <> 'VARCHAR')) = 0
    WHEN 'VARCHAR' THEN true WHEN 'NULL' THEN true ELSE kind IS NULL END;
CREATE OR REPLACE TEMP MACRO only_names(t, kind) AS CASE kind
    WHEN 'ARRAY' THEN len(list_filter(json_type(t, '$[*]'),
                                      lambda x: x NOT IN ('VARCHAR', 'UBIGINT', 'BIGINT'))) = 0
    WHEN 'VARCHAR' THEN true WHEN 'UBIGINT' THEN true WHEN 'BIGINT' THEN true
    WHEN 'NULL' THEN true ELSE kind IS NULL END;
CREATE OR REPLACE TEMP MACRO list_in_words(t, kind) AS CASE WHEN kind = 'ARRAY'
    THEN 'a list with an item that is none' ELSE kind_in_words(kind, t) END;
CREATE OR REPLACE TEMP MACRO cleaned(t, kind, tidy) AS CASE WHEN t IS NULL OR kind IS NULL THEN NULL
    WHEN kind = 'ARRAY' AND tidy_list(t, tidy) AND NOT contains(t, '","')
    THEN from_json(t, '["VARCHAR"]')
    ELSE list_distinct(list_filter(list_transform(texts(t, kind), lambda x: scrubbed(x)),
                                   lambda x: x IS NOT NULL)) END;
