-- DuckDB views over an output folder; pipeline.results.views.views_sql fills in the names in braces.
-- They fail while the folder holds no results.

-- One row per question key: ok before failed, then of the later run, then the newest (of equals, which a merge may have copied, any). A failed
-- row also gives way to a newer one of the same question with another key (its video was away, or has changed), and to
-- any answer of it, where it only says that the video was away.
-- Columns that were added after all of the files were written are null.
CREATE OR REPLACE VIEW answers AS
SELECT *
FROM (
    SELECT * EXCLUDE (filename)
    FROM (
        FROM read_parquet({answers}, union_by_name = true, filename = true, hive_partitioning = false)
        WHERE question_key IS NOT NULL
        UNION ALL BY NAME
        SELECT {added_columns} WHERE false
    )
    QUALIFY row_number() OVER (
        PARTITION BY question_key ORDER BY (status = 'ok') DESC, coalesce(num_runs, 1) DESC, finished_at DESC, run_id DESC, filename
    ) = 1
)
QUALIFY status = 'ok' OR (
    row_number() OVER (PARTITION BY {asked} ORDER BY finished_at DESC, run_id DESC, question_key DESC) = 1
    AND (video_fingerprint IS NOT NULL OR NOT bool_or(status = 'ok') OVER (PARTITION BY {asked}))
);

-- One row per question and group of frames that counted; visit 1 was the first, and the last is where it stopped.
CREATE OR REPLACE VIEW groups AS
SELECT question_key, question_id, video, generate_subscripts(groups, 1) AS visit, unnest(groups, max_depth := 2)
FROM answers;

-- One row per question and span [start_s, end_s) of the video that the answer rests on; rank 1 is the heaviest.
CREATE OR REPLACE VIEW evidence AS
SELECT question_key, question_id, video, generate_subscripts(evidence, 1) AS rank, unnest(evidence, max_depth := 2)
FROM answers;

CREATE OR REPLACE VIEW failures AS
SELECT question_key, question_id, video, question, error_class, error_message, attempts, run_id, finished_at
FROM answers
WHERE status = 'failed';

-- Of each question the videos that answer it, the surest answer first; of equals the one whose attention lies closest
-- together. A question that names one video is ranked by itself. Failed rows have no rank.
CREATE OR REPLACE VIEW best_by_question AS
SELECT *, row_number() OVER (
    PARTITION BY asked_id, question, config_hash
    ORDER BY answer_entropy, evidence_weight DESC, question_key
) AS rank
FROM (
    SELECT
        coalesce(asked_id, question_id) AS asked_id, question, config_hash, video, answer, answer_text,
        answer_entropy, -answer_entropy AS certainty,
        evidence[1].start_s AS evidence_start_s, evidence[1].end_s AS evidence_end_s,
        coalesce(evidence[1].weight, 0) AS evidence_weight,
        question_id, question_key
    FROM answers
    WHERE status = 'ok'
);

-- One row per run: what summary.json says.
CREATE OR REPLACE VIEW runs AS
SELECT * FROM read_json_auto({runs}, union_by_name = true) WHERE run_id IS NOT NULL;
