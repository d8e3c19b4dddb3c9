"""``ask.py`` without a question: the prompt in a terminal, and lines of another program."""

import io
from types import SimpleNamespace

import pytest

from jobs import ask
from jobs.wiring import ask_prompt
from jobs.wiring.asked import seconds, split_question
from pipeline.failures import FailureClass, PipelineError
from pipeline.method.evidence import EvidenceSpan
from pipeline.passes.records import FinalAnswer
from pipeline.passes.video_answer import VideoAnswer


class Video:
    """Answers B, or fails where the question says so; notes what it was asked."""

    plan = SimpleNamespace(start_s=0.0, end_s=600.0, sample=SimpleNamespace(num_frames=1_200), groups=range(19))

    def __init__(self):
        self.asked = []

    def ask(self, question):
        self.asked.append((question.text, question.options))
        if question.text == "long":
            raise PipelineError(FailureClass.TOO_LARGE, "the question is too long")
        if question.text == "interrupt":
            raise KeyboardInterrupt
        span = EvidenceSpan(start_s=5.0, end_s=7.0, weight=0.75, num_tokens=3)
        final = FinalAnswer(
            answer="B" if question.options else "blue",
            answer_text="B",
            option_probabilities=(0.25, 0.75) if question.options else None,
            answer_entropy=0.5,
            evidence=(span,),
            tokens=b"",
            kept={0: 3},
        )
        return VideoAnswer(question=question, asked=question, num_groups=19, final=final)


@pytest.fixture
def prompt():
    video = Video()
    return ask_prompt.AskPrompt(video, SimpleNamespace(method="adapttoken"), None, model_name="org/model")


def typed(*lines):
    """Stands in for ``input``: each line once; an exception is raised."""
    left = iter(lines)

    def read_line(_):
        line = next(left, EOFError)
        if isinstance(line, type):
            raise line
        return line

    return read_line


def test_the_prompt_answers_says_what_is_wrong_in_a_line_and_goes_on_to_the_end_of_input(prompt, capsys):
    lines = (
        "Which colour? | red | blue",
        "x | y",
        "| a | b",
        "long",
        "",
        ".what",
        KeyboardInterrupt,
        "interrupt",
        "Who?",
    )
    assert prompt.talk(typed(*lines)) == 0
    assert prompt._video.asked == [
        ("Which colour?", ("red", "blue")),
        ("long", None),
        ("interrupt", None),
        ("Who?", None),
    ]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "0:00:00 to 0:10:00, 1,200 sampled frames in 19 groups; method adapttoken, model org/model"
    assert said[2:6] == [
        "B. blue",
        "",
        "confidence  75.0 % (entropy 0.5 nats; 0 is certain)",
        "evidence    0:00:05 to 0:00:07   75.0 % of the attention",
    ]
    assert "model       org/model, method adapttoken" in said
    wrong = [line for line in said if line.startswith("no answer: ")]
    assert wrong == [
        "no answer: options need two texts at least, none of them empty: write Which colour? | red | blue",
        "no answer: there is no question before the first bar: write Which colour? | red | blue",
        "no answer: too_large: the question is too long",
    ]


def test_the_prompt_ends_where_the_person_ends_it(prompt):
    assert prompt.talk(typed("Who?", ".quit", "Why?")) == 0
    assert prompt._video.asked == [("Who?", None)]


@pytest.mark.parametrize(("lines", "code"), [(["Who?\n", "\n", "Why?"], 0), (["long\n", "Who?\n"], 3)])
def test_lines_of_a_program_are_answered_each_behind_its_question(prompt, capsys, lines, code):
    assert prompt.answer_lines(iter(lines)) == code
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("ask> ")] == [
        f"ask> {line.strip()}" for line in lines if line.strip()
    ]
    assert said.count("blue") == sum(line.strip() not in ("", "long") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["v.mp4", "--model", "demo"], "", "no question: give one behind the video, in quotes, or a line each"),
        (["v.mp4", "--options", "a", "b"], "Why?\n", "--options goes with a question; at the prompt write: Which"),
        (["v.mp4", "--start", "9", "--end", "3"], "Why?\n", "--end must lie 0.001 s after --start=9 or later, got 3"),
        (["v.mp4", "Why?", "--start", "soon"], "", "--start: 'soon' is no time: write seconds, 12:30 or 1:02:03"),
        (["v.mp4", "--modle", "demo"], "Why?\n", "unknown option --modle; did you mean --model?"),
    ],
)
def test_a_wrong_command_is_explained_in_one_line(monkeypatch, capsys, arguments, stdin, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    with pytest.raises(SystemExit, match="2"):
        ask.main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "no model is named"), (["--model", "demo"], "there is no video at none.mp4")]
)
def test_what_is_missing_is_said_before_a_model_is_loaded(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("sys.stdin", io.StringIO("Why?\n"))
    monkeypatch.setattr(ask_prompt, "load_configured_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert ask.main(["none.mp4", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"), [("750", 750.0), ("12:30", 750.0), ("0:12:30.5", 750.5), ("1:02:03", 3723.0), ("0.25", 0.25)]
)
def test_times_are_seconds_or_a_clocks(text, expected):
    assert seconds(text) == expected


def test_bars_part_a_question_from_its_options():
    assert split_question("Why?") == ("Why?", None)
    assert split_question(" Which | a b|c ") == ("Which", ("a b", "c"))
