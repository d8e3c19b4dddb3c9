from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.results.key_set import KeySet

KEYS = st.lists(st.text("0123456789abcdefü", min_size=1, max_size=32), max_size=30)


@settings(max_examples=50, deadline=None)
@given(one=KEYS, other=KEYS)
def test_a_key_set_behaves_like_a_set(one, other):
    keys = KeySet(one)
    assert keys == set(one)
    assert len(keys) == len(set(one))
    assert keys.union(KeySet(other)) == set(one) | set(other)
    assert keys & set(other) == set(one) & set(other)
    assert [key in keys for key in other] == [key in set(one) for key in other]
    assert keys.contains_all_of(other).tolist() == [key in set(one) for key in other]
    assert 7 not in keys
