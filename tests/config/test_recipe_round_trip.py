import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gppo.config import Recipe, dump_recipe, load_recipe

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
# Words that YAML might take for something else.
TRICKY = st.sampled_from(
    ["1e-6", "1e5", "no", "null", "~", "2025-01-01", "0x10", "1:30", "'", "# x", "a: b", "=", "<<"]
)
NAMES = TEXT | TRICKY
PATHS = (TEXT | TRICKY).filter(lambda text: "\0" not in text)
POSITIVE = st.floats(min_value=1e-12, max_value=1e6)


@st.composite
def stages(draw: st.DrawFn) -> list[dict]:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    return [
        {"name": name, "data": draw(PATHS), "steps": draw(st.integers(1, 10**6))}
        | draw(
            st.fixed_dictionaries(
                {}, optional={"learning_rate": POSITIVE, "epochs": st.integers(1, 9), "prompts_per_step": st.just(64)}
            )
        )
        for name in names
    ]


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    data = {"name": draw(NAMES), "seed": draw(st.integers(0, 2**63)), "model": {"path": draw(NAMES)}}
    if draw(st.booleans()):
        data["rl"] = {
            "stages": draw(stages()),
            "objective": {"name": draw(NAMES), "params": draw(st.dictionaries(NAMES, POSITIVE, max_size=3))},
            "zero_advantage": draw(st.sampled_from(["drop", "resample", "keep"])),
            "optimizer": draw(st.fixed_dictionaries({}, optional={"betas": st.just((0.9, 0.95))})),
        }
    if draw(st.booleans()):
        data["sft"] = {"data": draw(PATHS), "epochs": draw(POSITIVE)}
    if draw(st.booleans()):
        data["run_dir"] = draw(PATHS)
    return Recipe.model_validate(data)


@given(recipes())
def test_a_dumped_recipe_loads_back_equal(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(dump_recipe(recipe), encoding="utf-8", newline="")
        assert load_recipe(path) == recipe
