import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.stopping import GroupVote, find_stop, normalize_response

VOTES = st.lists(
    st.builds(GroupVote, entropy=st.sampled_from([0.0, 0.1, 0.2, 0.3]), response=st.sampled_from(["A", "a.", "B", ""])),
    max_size=10,
)


def votes(*pairs):
    return [GroupVote(entropy=entropy, response=response) for entropy, response in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The  RED,\ncar! ", "the red car"),
        ("A.", "a"),
        ("(B)", "b"),
        ("It's “here”…", "its here"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("红色。", "红色"),
        ("1.5", "1.5"),
        ("-5 at 10:30.", "-5 at 10:30"),
        ("a + b", "a + b"),
        ("?!", ""),
    ],
)
def test_responses_are_compared_without_case_punctuation_and_spacing(text, expected):
    assert normalize_response(text) == expected


@settings(deadline=None)
@given(text=st.text(alphabet="aÄß.,1- \t\n\u3000", max_size=12))
def test_spacing_around_a_response_never_matters(text):
    assert normalize_response(f" \t{text}\n") == normalize_response(text)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (votes((0.1, "A"), (0.1, "A")), 2),
        (votes((0.2, "A"), (0.2, "a.")), 2),  # the threshold itself is confident
        (votes((0.1, "A"), (0.21, "A")), None),
        (votes((0.1, "A"), (0.1, "B"), (0.9, "A"), (0.1, "B")), 4),  # they need not be neighbours
        (votes((0.1, "A"), (0.1, "B"), (0.1, "C")), None),
        (votes((0.1, "A"), (0.1, "A"), (0.1, "A")), 2),  # the shortest prefix
        (votes((0.0, "!"), (0.0, "?")), None),  # nothing said is no agreement
        (votes((float("nan"), "A"), (0.1, "A")), None),
        ([], None),
    ],
)
def test_a_question_stops_when_two_confident_groups_agree(prefix, expected):
    assert find_stop(prefix, confident_groups=2, stop_entropy=0.2) == expected


@settings(deadline=None)
@given(prefix=VOTES, confident_groups=st.integers(1, 3))
def test_the_stop_equals_trying_every_prefix(prefix, confident_groups):
    def holds(length):
        confident = [vote.response.rstrip(".").lower() for vote in prefix[:length] if vote.entropy <= 0.2]
        return any(confident.count(response) >= confident_groups for response in confident if response)

    expected = next((length for length in range(1, len(prefix) + 1) if holds(length)), None)
    assert find_stop(prefix, confident_groups=confident_groups, stop_entropy=0.2) == expected


@settings(deadline=None)
@given(prefix=VOTES, later=VOTES, confident_groups=st.integers(1, 3))
def test_later_votes_never_change_a_stop(prefix, later, confident_groups):
    stop = find_stop(prefix, confident_groups=confident_groups, stop_entropy=0.2)
    longer = find_stop(prefix + later, confident_groups=confident_groups, stop_entropy=0.2)
    assert longer == stop if stop is not None else longer is None or longer > len(prefix)


def test_zero_confident_groups_are_refused():
    with pytest.raises(ValueError, match="confident_groups must be at least 1, got 0"):
        find_stop([], confident_groups=0, stop_entropy=0.2)
