"""Data frames of texts, categories and gaps, as an estimator takes them."""

import pickle
import re

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from l2b import L2BClassifier
from l2b.estimation.frames import _text, frame_encoding
from l2b.notices import Notice

pd = pytest.importorskip("pandas")
N, KNOWN = 400, 60
draw = np.random.default_rng(0)
TOWN = draw.choice(["bath", "ely", "york"], N)
AGE = np.where(draw.random(N) < 0.1, np.nan, draw.normal(50, 10, N))
SMOKES, CODE = draw.random(N) < 0.3, draw.integers(0, 4, N)
TRUE = np.where((TOWN == "bath") ^ (AGE > 60), "ill", "well")
Y = np.where(draw.random(N) < 0.2, np.where(TRUE == "ill", "well", "ill"), TRUE)
CLEAN = np.arange(N) % 7 == 0


def frame():
    return pd.DataFrame({"town": TOWN, "age": AGE, "smokes": SMOKES, "code": pd.Categorical(CODE)})


def numbers():
    """The same by hand."""
    gaps = np.isnan(AGE)
    age = np.where(gaps, np.nanmedian(AGE.astype(np.float32)), AGE)
    towns = [name == TOWN for name in dict.fromkeys(TOWN)]
    codes = [code == CODE for code in dict.fromkeys(CODE)]
    return np.stack([*towns, age, gaps, SMOKES, *codes], axis=1).astype(np.float32)


def quick(**changes):
    return L2BClassifier(**{"method": "cross_entropy", "epochs": 5, "random_state": 0} | changes)


def test_columns_become_what_one_would_make_of_them_by_hand():
    framed = quick().fit(frame(), Y, clean=CLEAN)
    plain = quick().fit(numbers(), Y, clean=CLEAN)
    assert np.array_equal(framed.predict_proba(frame()), plain.predict_proba(numbers()))
    assert framed.n_features_in_ == 4
    assert list(framed.feature_names_in_) == ["town", "age", "smokes", "code"]
    assert (framed.predict(frame()) == TRUE).mean() > 0.85
    assert plain.encoding_ is None


def test_checked_samples_are_encoded_as_the_others():
    """Though they show fewer categories, in another order, and gaps where others have none."""
    x = frame()[["town", "code"]].assign(age=np.nan_to_num(AGE, nan=50))
    shown = x[::-1][:KNOWN].assign(age=np.nan)
    framed = quick(method="clean_only").fit(x, Y, X_clean=shown, y_clean=TRUE[::-1][:KNOWN])
    kinds = framed.encoding_.columns.columns
    assert [column.gaps for column in kinds] == [False, False, False]
    assert framed.encoding_(shown)[0, -1] == pytest.approx(kinds[2].median)
    assert kinds[0].categories == tuple(dict.fromkeys(TOWN))


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_texts_of_every_type_are_categories(dtype):
    x = pd.DataFrame({"town": pd.Series(TOWN, dtype=object).where(~SMOKES, None).astype(dtype)})
    found = quick().fit(x, Y, clean=CLEAN).encoding_
    assert set(found.columns.columns[0].categories) == {"bath", "ely", "york"}
    assert (found(x).sum(axis=1) == ~SMOKES).all()  # what is missing is none of them


def test_frames_of_numbers_are_arrays():
    x = pd.DataFrame({"age": np.nan_to_num(AGE), "smokes": SMOKES, "code": CODE})
    framed = quick().fit(x, Y, clean=CLEAN)
    assert framed.encoding_ is None
    plain = quick().fit(x.to_numpy(dtype=float), Y, clean=CLEAN)
    assert np.array_equal(framed.predict_proba(x), plain.predict_proba(x.to_numpy(dtype=float)))


def test_numbers_that_may_be_missing_are_numbers():
    x = pd.DataFrame({"code": pd.array(CODE, dtype="Int64")})
    x.loc[3, "code"] = pd.NA
    (column,) = quick().fit(x, Y, clean=CLEAN).encoding_.columns.columns
    assert column.gaps and not column.categories


def test_it_works_in_searches_pickles_and_without_names():
    scores = cross_val_score(quick(), frame(), Y, cv=3, params={"clean": CLEAN}, scoring="accuracy")
    assert (scores > 0.6).all()
    framed = quick().fit(frame(), Y, clean=CLEAN)
    p = framed.predict_proba(frame())
    assert np.array_equal(pickle.loads(pickle.dumps(framed)).predict_proba(frame()), p)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(framed.predict_proba(frame().to_numpy()), p)


def test_whole_columns_become_what_their_cells_become():
    """Numbers that are far from zero, spelled as texts, or missing; spaces around categories."""
    x = frame().assign(
        seconds=1_700_000_000 + AGE, spelled=[f"{k},5" for k in range(N)], padded=TOWN + " "
    )
    x.loc[5, "town"] = x.loc[6, "spelled"] = None
    found = frame_encoding(x)
    cells = zip(*([_text(cell) for cell in x[name]] for name in found.columns.names), strict=True)
    assert len(found.columns.names) == 7
    assert np.array_equal(found(x), found.columns.encode_all(cells, N))
    x.loc[7, "age"] = 1e39
    with pytest.raises(ValueError, match=r"'age' must hold numbers that fit .* '1e\+39' in row 7,"):
        found(x)


def test_a_category_that_is_new_is_none_of_those_known():
    framed = quick().fit(frame(), Y, clean=CLEAN)
    new = framed.encoding_(frame().assign(town="oslo"))
    assert (new[:, :3] == 0).all() and (new[:, 3:] == framed.encoding_(frame())[:, 3:]).all()


def test_texts_that_are_no_categories_are_told_and_not_used():
    x = frame().assign(note=[f"note {k}" for k in range(N)])[["note", *frame()]]
    with pytest.warns(Notice, match=r"at most 50 categories, which are not used: 'note'\. Drop"):
        framed = quick().fit(x, Y, clean=CLEAN)
    assert framed.n_features_in_ == 5
    without = quick().fit(frame(), Y, clean=CLEAN)
    assert np.array_equal(framed.predict_proba(x), without.predict_proba(frame()))


def fitted():
    return quick().fit(frame(), Y, clean=CLEAN)


WRONG = {
    "no category": (
        lambda: quick().fit(pd.DataFrame({"n": [f"note {k}" for k in range(N)]}), Y),
        "None of the columns n holds numbers or at most 50 categories: turn them into numbers",
    ),
    "one name twice": (
        lambda: quick().fit(pd.concat([frame(), frame()[["age"]]], axis=1), Y),
        "must have different names, got twice 'age'",
    ),
    "infinity": (
        lambda: quick().fit(frame().assign(age=np.where(AGE > 60, np.inf, AGE)), Y),
        f"X contains infinity in column 'age', row {int((AGE > 60).argmax())}: fill or drop",
    ),
    "no rows": (lambda: quick().fit(frame()[:0], Y[:0]), "Found array with 0 sample"),
    "no labels": (lambda: quick().fit(frame(), None), "requires y to be passed"),
    "fewer labels": (lambda: quick().fit(frame(), Y[:7]), "inconsistent numbers of samples"),
    "another type": (
        lambda: fitted().predict(frame().assign(age="old")),
        "Column 'age' must hold numbers that fit float32, as it did when the model learned",
    ),
    "a column less": (
        lambda: fitted().predict(frame().drop(columns="age")), "yet now missing:\n- age"
    ),
    "another order": (lambda: fitted().predict(frame()[[*frame()][::-1]]), "in the same order"),
    "checked ones are others": (
        lambda: quick().fit(frame(), Y, X_clean=frame()[["age"]][:9], y_clean=Y[:9]),
        "yet now missing:\n- code",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    work, said = WRONG[case]
    with pytest.raises(ValueError, match=re.escape(said)):
        work()
