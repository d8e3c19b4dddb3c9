-- The views for Spark and Athena over a table `answers_files` of OUTPUT/answers; docs/queries.md shows its external-table DDL.
-- Plain SQL of both: row_number in a subquery, CROSS JOIN UNNEST (Spark: LATERAL VIEW explode, see there).

CREATE OR REPLACE VIEW answers AS
SELECT * FROM (
    SELECT *, row_number() OVER (
        PARTITION BY question_key
        ORDER BY CASE WHEN status = 'ok' THEN 0 ELSE 1 END, coalesce(num_runs, 1) DESC, finished_at DESC, run_id DESC
    ) AS choice
    FROM answers_files WHERE question_key IS NOT NULL
) AS ranked WHERE choice = 1;

CREATE OR REPLACE VIEW failures AS
SELECT question_key, question_id, video, question, error_class, error_message, attempts, run_id, finished_at
FROM answers WHERE status = 'failed';

CREATE OR REPLACE VIEW evidence_of_answers AS
SELECT question_key, question_id, video, span.start_s, span.end_s, span.weight, span.num_tokens
FROM answers CROSS JOIN UNNEST(evidence) AS spans (span);

CREATE OR REPLACE VIEW groups_of_answers AS
SELECT question_key, question_id, video, one.group_index, one.entropy, one.certainty, one.response,
       one.num_tokens_offered, one.num_tokens_bought, one.num_tokens_kept
FROM answers CROSS JOIN UNNEST(groups) AS visits (one);
