"""Questions about one video, one after the other: the video stays open, so that each further one costs scoring only."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict

from jobs.wiring.asked import absolute, split_question, transcript_cell
from jobs.wiring.configuration import resolve_config
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.logs import LOG
from jobs.wiring.model_source import load_configured_model, load_tokenizer
from jobs.wiring.sandbox import check_sandbox
from pipeline.counted import counted
from pipeline.failures import OutageError, PipelineError, with_store_errors
from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import time_range
from pipeline.manifest.transcripts import Transcript
from pipeline.models.checkpoints.files import CheckpointError
from pipeline.passes.open_video import OpenVideo
from pipeline.passes.video_answer import VideoAnswer
from pipeline.planning.transcripts import load_transcript
from pipeline.report.answer_text import describe_answer
from pipeline.results.clock import format_clock
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets
from pipeline.video.sources import local_video

_HELP = "Ask, with options behind bars: Which colour? | red | blue. End with .quit or Ctrl-D; Ctrl-C drops a question."
_PROMPT = "ask> "


def prompt_for_questions(
    options: argparse.Namespace, run_options: argparse.Namespace, lines: Iterator[str] | None
) -> int:
    """Answer until the end of input; returns the exit code: 3 where a question of ``lines`` has no answer.

    Args:
        options: of ``ask.py``.
        run_options: its settings.
        lines: of another program or a file; None prompts in the terminal.
    """
    try:
        config, identity = resolve_config(run_options)
        check_sandbox(config.reading)
        said = None if options.transcript is None else load_transcript(transcript_cell(options.transcript) or "")
        uri = absolute(options.video)
        allow_http = config.reading.allow_http
        fingerprint = video_fingerprint(uri, storage_options=options.storage_options, allow_http=allow_http)
        model = load_configured_model(config, storage_options=options.storage_options)
        with (
            local_video(uri, reading=config.reading, storage_options=options.storage_options) as path,
            closing(
                OpenVideo(
                    path,
                    fingerprint=fingerprint,
                    uri=strip_secrets(uri),
                    model=model,
                    tokenizer=load_tokenizer(config, storage_options=options.storage_options),
                    config=config,
                    time_range=time_range(options.start, options.end),
                )
            ) as video,
        ):
            prompt = AskPrompt(video, config, said, model_name=strip_secrets(identity.name))
            return prompt.talk() if lines is None else prompt.answer_lines(lines)
    except (CheckpointError, OutageError) as error:
        return _complain(error, EXIT_JOB)
    except PipelineError as error:
        return _complain(f"no answer: {error.failure_class}: {error.message}", EXIT_FAILURES)
    except with_store_errors(ValueError, OSError) as error:
        return _complain(error, EXIT_USAGE)
    except KeyboardInterrupt:
        return 130


class AskPrompt:
    """Reads questions, and says what is answered."""

    def __init__(self, video: OpenVideo, config: RunConfig, said: Transcript | None, *, model_name: str) -> None:
        self._video, self._config, self._said, self._model_name = video, config, said, model_name
        plan = video.plan
        frames, groups = counted(plan.sample.num_frames, "sampled frame"), counted(len(plan.groups), "group")
        self._head = (
            f"{format_clock(plan.start_s)} to {format_clock(plan.end_s)}, {frames} in {groups}; "
            f"method {config.method}, model {model_name}"
        )

    def talk(self, read_line: Callable[[str], str] = input) -> int:
        """With a person; what cannot be answered is said, and the prompt goes on."""
        with suppress(ImportError):
            import readline  # noqa: F401  arrow keys and earlier questions
        print(f"{self._head}\n{_HELP}")
        while True:
            try:
                line = read_line(_PROMPT).strip()
                if line in (".quit", ".exit", ".q"):
                    return EXIT_OK
                if line.startswith("."):
                    print(_HELP)
                elif line:
                    self._answer(line)
            except EOFError:
                print()
                return EXIT_OK
            except KeyboardInterrupt:
                print()

    def answer_lines(self, lines: Iterator[str]) -> int:
        """Of a program: each question is printed before its answer."""
        print(self._head)
        are_answered = True
        for line in map(str.strip, lines):
            if line:
                print(f"\n{_PROMPT}{line}")
                are_answered &= self._answer(line)
        return EXIT_OK if are_answered else EXIT_FAILURES

    def _answer(self, line: str) -> bool:
        """Whether there is one."""
        started = time.perf_counter()
        try:
            text, options = split_question(line)
            asked = Question(
                question_id="asked", video="", text=text, options=options, row_index=0, transcript=self._said
            )
            found = self._video.ask(asked)
        except PipelineError as error:
            print(f"no answer: {error.failure_class}: {error.message}", flush=True)
            return False
        except ValueError as error:
            print(f"no answer: {error}", flush=True)
            return False
        print(describe_answer(self._row(found, time.perf_counter() - started)), flush=True)
        return True

    def _row(self, found: VideoAnswer, total_s: float) -> dict[str, object]:
        """What the view ``answers`` would hold of it, as far as it is printed."""
        assert found.final is not None
        return {
            "status": "ok",
            "answer": found.final.answer,
            "options": found.question.options,
            "option_probabilities": found.final.option_probabilities,
            "answer_entropy": found.final.answer_entropy,
            "evidence": [asdict(span) for span in found.final.evidence],
            "num_groups": found.num_groups,
            "num_groups_scored": len(found.scores),
            "stop_reason": "confident" if found.has_stopped else None,
            "num_tokens_kept": sum(found.final.kept.values()),
            "num_tokens_offered": sum(score.num_tokens for score in found.scores),
            "total_s": total_s,
            "model": self._model_name,
            "method": self._config.method,
            "warnings": found.warnings,
        }


def _complain(error: object, code: int) -> int:
    LOG.error("%s", error)
    return code
