from hypothesis import given
from hypothesis import strategies as st

from gppo.curate.dedup import conversation_key, problem_key, question, unique


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


def test_problems_are_compared_in_normal_form():
    assert problem_key([user("Find  X.")]) == problem_key([user("find x.")])
    assert problem_key([user("Find X.")]) != problem_key([user("Find Y.")])
    assert len(problem_key([user("Find X.")])) == 16


def test_the_system_prompt_is_no_part_of_the_question():
    assert problem_key([system("Think."), user("Find x.")]) == problem_key([user("Find x.")])
    assert question([system("Think."), user("a"), assistant("b"), user("c")]) == "a\nc"


def test_two_responses_to_one_prompt_are_both_kept():
    first, second = [user("Find x."), assistant("4")], [user("Find x."), assistant("It is 4")]
    assert conversation_key(first) != conversation_key(second)


def test_responses_are_compared_to_the_letter_and_prompts_in_normal_form():
    assert conversation_key([user("FIND x."), assistant("4")]) == conversation_key([user("find x."), assistant("4")])
    assert conversation_key([user("Find x."), assistant("A")]) != conversation_key([user("Find x."), assistant("a")])


def test_where_one_turn_ends_matters():
    one = [user("q"), assistant("ab"), assistant("c")]
    other = [user("q"), assistant("a"), assistant("bc")]
    assert conversation_key(one) != conversation_key(other)


def test_text_that_is_no_valid_unicode_has_a_key_too():
    assert problem_key([user("\ud800")]) != problem_key([user("\ud801")])


def test_the_first_of_two_stays():
    assert list(unique(["b1", "a1", "b2", "c1", "a2"], lambda text: text[0].encode())) == ["b1", "a1", "c1"]


def test_records_stream():
    def endless():
        number = 0
        while True:
            yield number
            number += 1

    stream = unique(endless(), lambda number: str(number // 2).encode())
    assert [next(stream) for _ in range(3)] == [0, 2, 4]


@given(st.lists(st.sampled_from(["find x", "Find X", "find y", "FIND  y", "z"])))
def test_unique_keeps_each_question_once_and_in_order(texts):
    kept = list(unique(texts, lambda text: problem_key([user(text)])))
    forms = [" ".join(text.lower().split()) for text in texts]
    assert [" ".join(text.lower().split()) for text in kept] == list(dict.fromkeys(forms))
    assert list(unique(kept, lambda text: problem_key([user(text)]))) == kept
