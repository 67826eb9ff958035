from gppo.curate.dedup import conversation_key, problem_key, question


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
