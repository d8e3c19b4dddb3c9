"""The extraction rules against slow references over a thousand responses, and against letters worked out by hand."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.scoring.extraction import (
    GLUED_PHRASES,
    PHRASES,
    read_before_bracket,
    read_first_letter,
    read_or_guess,
    read_polished,
    read_strictly,
)
from pipeline.evaluation.scoring.ranked_extraction import ANNOUNCEMENTS, read_ranked
from pipeline.evaluation.scoring.readings import RawAnswer
from pipeline.evaluation.scoring.scorers import SCORERS, default_scorer, get_scorer
from tests.unit.evaluation.scoring import slow_rules

TEMPLATES = (
    *("{}", "{}.", "({})", "({}).", "{})", "{}:", "{},", " {} ", "\n{}\n", "'{}'", '"{}"', "**{}**", "[{}]", "<{}>"),
    *(
        "{}. red",
        "({}) red",
        "{}) red",
        "{}: red",
        "{} red",
        "{}\nred",
        "{}-red",
        "{}red",
        "red{}",
        "red {}",
        "red ({})",
    ),
    *(
        "The answer is {}",
        "The answer is {}.",
        "The answer is ({}).",
        "The answer is: {}",
        "The answer: {}",
        "Answer: {}",
    ),
    *(
        "The best answer is {}.",
        "The correct answer is {}",
        "the correct answer is {}",
        "My answer is {}",
        "I choose {}",
    ),
    *("I pick {} here", "I select option {} because it fits", "The best option is {}", "The correct option is ({})"),
    *("The choice is {}.", "The correct choice is {}", "Best answer: {}", "Best option: {}", "Best option: ({})"),
    *("Option {} is right", "It is {} I think", "I think {} because the man walks", "It must be ({}) or so, he said."),
    *("A man walks in, so the answer is {}", "Because of the dog: {}", "Blue is seen, hence ({})", "Certainly {}"),
    *(
        "The answer is {}, not A",
        "Not B. The answer is {}.",
        "{} is right and A is wrong",
        "I think {} because D is wrong",
    ),
    *(
        "(A) no (B) no ({}) yes",
        "A. no B. no {}. yes",
        "A) no, {}) yes",
        "Either A or {}",
        "Options A, B, {}",
        "A/B/{}",
    ),
    *("The video shows a cat and a dog playing for a long time in the park, then {}", "Reasoning first.\nAnswer: ({})"),
    *("answer is {}", "ANSWER IS {}", "The Answer Is {}", "the answer is b, I mean {}", "the answer isn't {}", "{} {}"),
    *(
        "정답은 {}",
        "答案是{}",
        "选{}",
        "答えは{}です",
        "옵션 {}",
        "답: {}",
        "ist {}?",
        "{}!",
        "'{}.'",
        ".{}.",
        "({}",
        "{}(",
        ") {}",
    ),
    *(
        "No idea",
        "none of them {}",
        "",
        "...",
        "the {} option",
        "Choose {} now",
        "take {}: it fits",
        "hence {}) it fits",
        "C{}",
        "{}D",
        "Dogs and {}ats",
        "x {} y",
    ),
)
LETTERS = ("A", "B", "C", "D", "E", "F", "b", "d")
RESPONSES = tuple(dict.fromkeys(template.replace("{}", letter) for template in TEMPLATES for letter in LETTERS))


def test_there_are_more_than_five_hundred_different_responses():
    assert len(RESPONSES) > 700
    read = Counter(read_ranked(response, letters="ABCD").parsed_by for response in RESPONSES)
    ways = ("anywhere", "space", "bracket", "colon", "stop", "brackets", "announced", "end", "start", "unparsed")
    assert set(read) == set(ways)


@pytest.mark.parametrize("letters", ["ABCD", "ABCDEF"])
def test_ranked_rule_reads_every_response_as_its_description_does(letters):
    expected = {response: slow_rules.ranked(response, letters) for response in RESPONSES}
    assert {response: read_ranked(response, letters=letters).letter for response in RESPONSES} == expected


def test_phrase_rules_read_every_response_as_their_description_does():
    for response in RESPONSES:
        glued = read_first_letter(response, letters="ABCD", phrases=GLUED_PHRASES).letter
        assert glued == slow_rules.first_capital(response, "ABCD", slow_rules.VIDEOMME_PHRASES), response
        apart = read_first_letter(response, letters="ABCDE", phrases=PHRASES).letter
        assert apart == slow_rules.first_capital(response, "ABCDE", slow_rules.LONGVIDEOBENCH_PHRASES), response


def test_bracket_rules_read_every_response_as_their_description_does():
    for response in RESPONSES:
        assert read_before_bracket(response).letter == slow_rules.before_bracket(response), response
        assert read_polished(response).letter == slow_rules.polished(response), response


PIECES = st.sampled_from(
    [*"ABCDEab(). :\n,'!", "(A)", "the answer is ", "I pick ", "Because", "选", "İ", "Best answer:"]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_rules_equal_their_descriptions_on_any_text(response):
    assert read_ranked(response, letters="ABCD").letter == slow_rules.ranked(response, "ABCD")
    assert read_before_bracket(response).letter == slow_rules.before_bracket(response)
    assert read_polished(response).letter == slow_rules.polished(response)


def test_the_announcements_are_the_published_ones():
    assert set(ANNOUNCEMENTS) == set(slow_rules.ANNOUNCEMENTS)


@pytest.mark.parametrize(
    ("response", "letters", "letter", "parsed_by"),
    [
        ("A man walks in, so the answer is C", "ABCD", "A", "start"),  # known mis-read
        ("I think B because D is wrong", "ABCD", "D", "space"),  # known mis-read
        ("the correct answer is: b", "ABCD", None, "unparsed"),  # known mis-read
        ("(E) Arrest", "ABCD", "A", "anywhere"),  # known mis-read: E cannot be right among six options
        ("(E) Arrest", "ABCDEF", "E", "brackets"),
        ("The answer is B, not A", "ABCD", "A", "end"),
        ("The answer is B. Dogs bark", "ABCD", "D", "announced"),
        ("It was (B) and then C. yes", "ABCD", "B", "brackets"),
        ("It was B) and then C) yes", "ABCD", "C", "bracket"),
        ("choose C: it fits", "ABCD", "C", "colon"),
        ("so it is ... C.", "ABCD", "C", "end"),
        ("'B.'", "ABCD", "B", "start"),
        ("none", "ABCD", None, "unparsed"),
        ("  ", "ABCD", None, "unparsed"),
        ("!!!", "ABCD", None, "unparsed"),
    ],
)
def test_ranked_rule_on_responses_worked_out_by_hand(response, letters, letter, parsed_by):
    reading = read_ranked(response, letters=letters)
    assert (reading.letter, reading.parsed_by) == (letter, parsed_by)


CASES = [  # response, official and legacy letters of each benchmark, worked out by hand
    ("B", {"videomme": "BB", "longvideobench": "BB", "lvbench": "BB", "mlvu-dev": "BB"}),
    ("(C) red", {"videomme": "CC", "longvideobench": "CC", "lvbench": "CC", "mlvu-dev": "CC"}),
    ("D. A book", {"videomme": "DD", "longvideobench": "DD", "lvbench": "DD", "mlvu-dev": "--"}),
    ("The answer is C.", {"videomme": "CC", "longvideobench": "CC", "lvbench": "TC", "mlvu-dev": "--"}),
    ("Best answer: C", {"videomme": "BB", "longvideobench": "CC", "lvbench": "BB", "mlvu-dev": "--"}),  # missing comma
    ("Best option: (C)", {"videomme": "BB", "longvideobench": "CC", "lvbench": "CB", "mlvu-dev": "CC"}),
    ("A man, so C", {"videomme": "AA", "longvideobench": "AA", "lvbench": "AA", "mlvu-dev": "--"}),
    ("the correct answer is: b", {"videomme": "--", "lvbench": "--", "mlvu-dev": "--"}),
    ("red", {"videomme": "--", "lvbench": "--", "mlvu-dev": "--"}),
    ("E", {"videomme": "--", "longvideobench": "EE", "lvbench": "E-", "mlvu-dev": "EE"}),
    (") C", {"videomme": "CC", "longvideobench": "CC", "lvbench": "-C", "mlvu-dev": "--"}),
]


@pytest.mark.parametrize(
    ("text", "benchmark", "letters"),
    [(text, benchmark, letters) for text, table in CASES for benchmark, letters in table.items()],
)
def test_each_benchmark_is_read_by_its_own_rule(text, benchmark, letters):
    response = RawAnswer(question_id="q", text=text, options=("w", "x", "y", "z"), benchmark=benchmark)
    found = [SCORERS[name](response).letter or "-" for name in ("official", "lmms_eval_legacy")]
    assert "".join(found) == letters


def test_longvideobench_guesses_an_offered_letter_that_depends_on_the_question_alone():
    guesses = {}
    for number in range(300):
        reading = read_or_guess("no idea", question_id=f"q{number}", num_options=3)
        assert reading.parsed_by == "random-guess"
        assert reading == read_or_guess("something else", question_id=f"q{number}", num_options=3)
        guesses[number] = reading.letter
    counts = Counter(guesses.values())
    assert set(counts) == set("ABC")
    assert min(counts.values()) > 70  # of 300, 100 expected, standard deviation 8


def test_longvideobench_reads_letters_that_were_not_offered():
    reading = read_or_guess("The best option is E", question_id="q", num_options=3)
    assert (reading.letter, reading.parsed_by) == ("E", "first-letter")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        *(("B", "B"), ("(B)", "B"), ("B.", "B"), ("B)", "B"), ("B:", "B"), (" (B). ", "B"), ("B. red", "B")),
        *(("(B) Red.", "B"), ("B red", "B"), ("B. blue", None), ("b", None), ("E", None), ("Blue", None), ("", None)),
        *(("The answer is B", None), ("A or B", None), ("AB", None), ("B B", None), ("(B", None), ("Bred", None)),
    ],
)
def test_strict_rule_accepts_a_letter_alone_or_with_its_own_text(text, letter):
    assert read_strictly(text, ("blue", "red", "green", "cyan")).letter == letter


def test_option_probabilities_takes_the_projects_own_answer():
    response = RawAnswer(question_id="q", text="A", options=("x", "y"), choice="B", benchmark="lvbench")
    assert SCORERS["option_probabilities"](response).letter == "B"


def test_april_rule_reads_four_letters_even_where_six_are_offered_but_not_for_longvideobench():
    six = ("u", "v", "w", "x", "y", "Arrest")
    read = SCORERS["lmms_eval_2026_04"]
    assert read(RawAnswer(question_id="q", text="(E) Arrest", options=six, benchmark="mlvu-test")).letter == "A"
    assert read(RawAnswer(question_id="q", text="(E) Arrest", options=six, benchmark="longvideobench")).letter == "E"
    assert read(RawAnswer(question_id="q", text="(E) Arrest", options=six)).letter == "E"  # an archive: what is offered


def test_a_scorer_without_a_rule_says_so():
    with pytest.raises(ValueError, match="'official' has no rule for an archive without a benchmark"):
        SCORERS["official"](RawAnswer(question_id="q", text="A", options=("x", "y")))
    with pytest.raises(ValueError, match=r"scorer must be one of official, .* got 'exact'"):
        get_scorer("exact")
    assert [default_scorer(name) for name in ("videomme", "")] == ["official", "option_probabilities"]


@pytest.mark.parametrize("said", ["B.", "B. blue", "B", "(B) blue", "The answer is B."])
def test_the_default_rule_reads_what_the_wording_makes_models_say(said):
    """MLVU's own rule read the first two as nothing, whatever they had been asked."""
    answer = RawAnswer(question_id="q", text=said, options=("red", "blue"), benchmark="mlvu-dev")
    assert get_scorer(default_scorer("mlvu-dev", "plain"))(answer).letter == "B"
    assert default_scorer("mlvu-dev", "mlvu") == "official"
    assert default_scorer("videomme", "plain") == default_scorer("videomme", "videomme") == "official"
    assert default_scorer("") == "option_probabilities"


@pytest.mark.parametrize("said", ["B) blue", "B", "B)"])
def test_mlvus_own_rule_reads_what_follows_the_opened_bracket(said):
    answer = RawAnswer(question_id="q", text=said, options=("red", "blue"), benchmark="mlvu-dev")
    assert get_scorer(default_scorer("mlvu-dev", "mlvu"))(answer).letter == "B"
