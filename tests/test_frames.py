"""Data frames of texts, categories, times and gaps, as an estimator takes them."""

import datetime as dt
import pickle
import re
from decimal import Decimal

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.model_selection import cross_val_score

from l2b import L2BClassifier
from l2b.estimation.columns import Categories, Numbers
from l2b.estimation.frames import frame_encoding
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
    age = np.where(gaps, np.nanmedian(AGE), AGE)
    towns = [name == TOWN for name in dict.fromkeys(TOWN)]
    codes = [code == CODE for code in dict.fromkeys(CODE)]
    scaled = [(x - x.mean()) / x.std() for x in (age, SMOKES.astype(float))]
    return np.stack([*towns, scaled[0], gaps, scaled[1], *codes], axis=1)


def quick(**changes):
    return L2BClassifier(**{"method": "cross_entropy", "epochs": 5, "random_state": 0} | changes)


def encoded(cells, *others):
    """What one column becomes, and the features of other cells, numbers as before any scaling."""
    encoding = frame_encoding(pd.DataFrame({"c": cells}))
    (column,) = encoding.columns
    found = [encoding(pd.DataFrame({"c": other})) for other in others]
    if isinstance(column, Numbers):
        for features in found:
            features[:, 0] = (features[:, 0] * column.std + column.mean).round(3)
    return column, *(features.tolist() for features in found)


def test_columns_become_what_one_would_make_of_them_by_hand():
    framed = quick().fit(frame(), Y, clean=CLEAN)
    plain = quick().fit(numbers(), Y, clean=CLEAN)
    np.testing.assert_allclose(framed.encoding_(frame()), numbers(), atol=1e-12)
    p, q = framed.predict_proba(frame()), plain.predict_proba(numbers())
    np.testing.assert_allclose(p, q, atol=1e-4)
    assert framed.n_features_in_ == 4
    assert list(framed.feature_names_in_) == ["town", "age", "smokes", "code"]
    assert (framed.predict(frame()) == TRUE).mean() > 0.85
    assert plain.encoding_ is None


def test_numbers_beside_many_categories_are_told_apart():
    """Though most features are zero, years are not taken for sizes."""
    year, name = draw.integers(1990, 2020, N), draw.choice(list("abcdefghijkl"), N)
    x = pd.DataFrame({"name": name, "year": year})
    model = quick(epochs=10).fit(x, year > 2005, clean=CLEAN)
    assert model.score(x, year > 2005) > 0.95
    rare = np.where(np.arange(N) % 8, 0, 1000.0)  # mostly zero: by size alone, zeros stay
    found = frame_encoding(pd.DataFrame({"name": name, "rare": rare}))(
        pd.DataFrame({"name": name, "rare": rare})
    )
    assert set(found[:, -1]) == {0.0, 1.0}


@pytest.mark.parametrize("gap", [False, True])
def test_times_and_numbers_beside_marks_are_centred(gap):
    """Marks of gaps, and flags, make a frame of mostly zeros; dates in it still tell."""
    day = draw.integers(0, 365, N)
    x = pd.DataFrame({f"flag {k}": draw.random(N) < 0.1 for k in range(6)})
    x["day"] = day.astype(float) if gap else pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D")
    if gap:
        x.loc[:3, "day"] = np.nan
    model = quick(epochs=10).fit(x, day > 180, clean=CLEAN)
    assert model.score(x, day > 180) > 0.95


def test_checked_samples_are_encoded_as_the_others():
    """Though they show fewer categories, in another order, and gaps where others have none."""
    x = frame()[["town", "code"]].assign(age=np.nan_to_num(AGE, nan=50))
    shown = x[::-1][:KNOWN].assign(age=np.nan)
    framed = quick(method="clean_only").fit(x, Y, X_clean=shown, y_clean=TRUE[::-1][:KNOWN])
    town, _, age = framed.encoding_.columns
    assert isinstance(age, Numbers) and not age.gaps
    assert framed.encoding_(shown)[0, -1] == pytest.approx((age.median - age.mean) / age.std)
    assert town == Categories(name="town", place=0, values=tuple(dict.fromkeys(TOWN)))


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_texts_of_every_type_are_categories(dtype):
    cells = pd.Series(TOWN, dtype=object).where(~SMOKES, None).astype(dtype)
    column, found = encoded(cells, cells)
    assert set(column.values) == {"bath", "ely", "york"}
    assert (np.sum(found, axis=1) == ~SMOKES).all()  # what is missing is none of them


def test_categories_are_known_again_in_another_type():
    """One gap makes floats of integers; so does an array of numbers."""
    whole = pd.Categorical([0, 1, 2, 1])
    gap = pd.Categorical([0, 1, None, 1], categories=[0, 1, 2])
    _, found, floats = encoded(whole, gap, [0.0, 1.0, 2.0, 1.0])
    assert found == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert floats[2] == [0, 0, 1]
    assert encoded(gap, whole)[1][1] == [0, 1]
    assert encoded([1, 2, "a"], [1.0, 2.0, 1.0])[1] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    many, _ = encoded(pd.Categorical(np.arange(120)), [1])
    assert len(many.values) == 120  # whoever says category is believed


def test_numbers_of_every_type_are_numbers():
    expected = [[1.5, 0], [1.75, 1], [2.0, 0]]
    for cells in (
        [1.5, np.nan, 2], pd.array([1.5, None, 2], dtype="Float64"), [Decimal("1.5"), None, 2],
        np.array([1.5, None, 2], dtype=object),
    ):  # fmt: skip
        column, found = encoded(cells, cells)
        assert found == expected and column.gaps
    assert encoded(pd.array([1, None, 3], dtype="Int64"), [5])[1] == [[5, 0]]
    assert encoded([True, None, True, False], [False, True])[1] == [[0, 0], [1, 0]]
    assert encoded(pd.array([True, None, False], dtype="boolean"), [None])[1] == [[0.5, 1]]
    assert encoded([1.0, 2.0], [Decimal("sNaN"), 2])[1] == [[1.5], [2]]


def objects(*cells):
    """A column that pandas leaves as it is."""
    return pd.Series(np.fromiter(cells, dtype=object), dtype=object)


def test_times_of_objects_have_gaps_of_every_kind():
    day = 86400
    first, last = dt.date(1970, 1, 2), pd.Timestamp("1970-01-04T01:00", tz="Europe/Paris")
    cells = objects(first, None, pd.NA, np.nan, np.datetime64("1970-01-03"), last)
    column, found, alone = encoded(cells, cells, [np.nan])
    assert column.kind == "times"
    assert found == [[day, 0], *[[2 * day, 1]] * 3, [2 * day, 0], [3 * day, 0]]
    assert alone == [[2 * day, 1]]
    span = objects(dt.timedelta(days=1), np.timedelta64(3, "D"), None)
    assert encoded(span, span)[1] == [[day, 0], [3 * day, 0], [2 * day, 1]]


def test_times_beyond_nanoseconds_stay_in_order():
    years = np.array(["1600-01-01", "1990-01-01", "2300-01-01", "9999-12-31"], "datetime64[s]")
    _, found = encoded(years, years)
    assert np.all(np.diff(found, axis=0) > 0)
    assert encoded(years, years[1:2].astype("datetime64[D]"))[1] == [found[1]]


def test_categories_of_every_kind_keep_their_names():
    large = pd.Categorical(2**60 + np.arange(20))
    assert len(encoded(large)[0].values) == 20
    days = pd.to_datetime(["2020-01-01", "2020-01-02"])
    by_day = pd.Categorical(days.astype("datetime64[us]"))
    for other in (pd.Categorical(days.astype("datetime64[ns]")), list(days)):
        assert encoded(by_day, other)[1] == [[1, 0], [0, 1]]
    mixed = pd.DataFrame({"c": pd.Categorical([True, False, True]), "a": [1.0, 2.0, 3.0]})
    plain = mixed.assign(c=[True, False, True])
    encoding = frame_encoding(mixed)
    assert np.array_equal(encoding(plain), encoding(mixed))


def test_times_are_seconds_whatever_their_unit():
    days = pd.to_datetime(["1970-01-02", None, "1970-01-04"])
    day = 86400
    expected = [[day, 0], [2 * day, 1], [3 * day, 0]]
    _, *found = encoded(days, days, days.astype("datetime64[s]"), objects(*days))
    assert found == [expected] * 3
    spans = pd.to_timedelta(["1 day", None, "3 days"])
    assert encoded(spans, spans, spans.astype("timedelta64[s]"))[1:] == (expected, expected)
    berlin = days.tz_localize("Europe/Berlin")
    assert encoded(berlin, berlin)[1][0] == [day - 3600, 0]
    assert encoded(berlin, days)[1][0] == [day, 0]


def test_frames_of_numbers_are_arrays():
    x = pd.DataFrame({"age": np.nan_to_num(AGE), "smokes": SMOKES, "code": CODE})
    framed = quick().fit(x, Y, clean=CLEAN)
    plain = quick().fit(x.to_numpy(dtype=float), Y, clean=CLEAN)
    assert np.array_equal(framed.predict_proba(x), plain.predict_proba(x.to_numpy(dtype=float)))


def test_a_gap_may_be_where_the_fit_had_none():
    x = pd.DataFrame({"age": np.nan_to_num(AGE), "code": CODE.astype(float)})
    x.loc[3, "age"] = np.nan
    scores = cross_val_score(quick(), x, Y, cv=3, params={"clean": CLEAN})
    assert np.isfinite(scores).all()


def test_sparse_frames_stay_sparse():
    words = pd.DataFrame(np.eye(4)[CODE]).astype(pd.SparseDtype(float, 0.0))
    assert frame_encoding(words) is None
    assert quick().fit(words, CODE > 1, clean=CLEAN).score(words, CODE > 1) == 1


def test_it_works_in_searches_pickles_and_without_names():
    scores = cross_val_score(quick(), frame(), Y, cv=3, params={"clean": CLEAN}, scoring="accuracy")
    assert (scores > 0.6).all()
    framed = quick().fit(frame(), Y, clean=CLEAN)
    p = framed.predict_proba(frame())
    assert np.array_equal(pickle.loads(pickle.dumps(framed)).predict_proba(frame()), p)
    np.testing.assert_allclose(framed.predict_proba(frame()[3:4]), p[3:4], atol=1e-6)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(framed.predict_proba(frame().to_numpy()), p)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(framed.predict_proba(frame().to_numpy().tolist()), p)
    several = quick().fit(frame(), np.stack([TRUE == "ill", SMOKES], axis=1).astype(int))
    assert several.predict(frame()).shape == (N, 2)


def test_a_category_that_is_new_is_none_of_those_known():
    framed = quick().fit(frame(), Y, clean=CLEAN)
    some = framed.encoding_(frame().assign(town=np.where(SMOKES, "oslo", TOWN)))
    assert (some[SMOKES, :3] == 0).all()
    assert (some[~SMOKES] == framed.encoding_(frame())[~SMOKES]).all()
    with pytest.warns(Notice, match=r"'town' of X holds none of the .* but e\.g\. 'oslo': is it"):
        framed.predict(frame().assign(town="oslo"))


def test_columns_of_no_use_are_told_and_left_out():
    x = frame().assign(note=[f"note {k}" for k in range(N)], none=np.nan)
    x = x[["note", "none", *frame()]]
    with pytest.warns(Notice, match=r"empty or .* 'note', 'none'\. Drop") as told:
        framed = quick().fit(x, Y, clean=CLEAN)
    assert told[0].filename == __file__  # where it was asked for, not where it was found
    assert framed.n_features_in_ == 6
    without = quick().fit(frame(), Y, clean=CLEAN)
    assert np.array_equal(framed.predict_proba(x), without.predict_proba(frame()))


def test_a_failed_fit_leaves_what_there_was():
    framed = quick().fit(frame(), Y, clean=CLEAN)
    before = framed.predict_proba(frame())
    with pytest.raises(ValueError, match="infinity"):
        framed.fit(frame().assign(age=np.inf), Y, clean=CLEAN)
    assert np.array_equal(framed.predict_proba(frame()), before)


def fitted():
    return quick().fit(frame(), Y, clean=CLEAN)


def spoiled(**cells):
    return pd.DataFrame({name: pd.Series([value] * N) for name, value in cells.items()})


WRONG = {
    "no category": (
        lambda: quick().fit(pd.DataFrame({"n": [f"note {k}" for k in range(N)]}), Y),
        "All columns of X are empty or neither numbers nor at most 50 categories: 'n'. Drop",
    ),
    "one name twice": (
        lambda: quick().fit(pd.concat([frame(), frame()[["age"]]], axis=1), Y),
        "must have different names, got twice 'age'",
    ),
    "infinity": (
        lambda: quick().fit(frame().assign(age=np.where(AGE > 60, np.inf, AGE)), Y),
        f"X contains infinity in column 'age', row {int((AGE > 60).argmax())}, counted from 0",
    ),
    "infinity among objects": (
        lambda: quick().fit(frame().assign(age=np.array([np.inf] * N, dtype=object)), Y),
        "X contains infinity in column 'age', row 0",
    ),
    "infinity among the checked": (
        lambda: quick().fit(frame(), Y, X_clean=frame().assign(age=np.inf)[:9], y_clean=Y[:9]),
        "X_clean contains infinity in column 'age', row 0",
    ),
    "lists": (
        lambda: quick().fit(spoiled(c=[1, 2]), Y),
        "Column 'c' of X must hold one value in a cell, got list in row 0",
    ),
    "arrays": (
        lambda: quick().fit(spoiled(c=np.ones(2)), Y),
        "Column 'c' of X must hold one value in a cell, got ndarray in row 0",
    ),
    "no rows": (lambda: quick().fit(frame()[:0], Y[:0]), "Found array with 0 sample"),
    "no rows to predict": (lambda: fitted().predict(frame()[:0]), "Found array with 0 sample"),
    "no labels": (lambda: quick().fit(frame(), None), "requires y to be passed"),
    "fewer labels": (lambda: quick().fit(frame(), Y[:7]), "inconsistent numbers of samples"),
    "another type": (
        lambda: fitted().predict(frame().assign(age="old")),
        "Column 'age' of X must hold numbers, as it did in fit, got 'old' in row 0",
    ),
    "another type of time": (
        lambda: frame_encoding(spoiled(c=pd.Timestamp(0)))(spoiled(c=1.0)),
        "Column 'c' of X must hold times, as it did in fit, got np.float64(1.0) in row 0",
    ),
    "spans for times": (
        lambda: frame_encoding(spoiled(c=pd.Timestamp(0)))(spoiled(c=pd.Timedelta(1))),
        "Column 'c' of X must hold times, as it did in fit",
    ),
    "one that is none among times": (
        lambda: frame_encoding(spoiled(c=pd.Timestamp(0)))(
            pd.DataFrame({"c": objects(pd.Timestamp(0), "old")})
        ),
        "must hold times, as it did in fit, got 'old' in row 1",
    ),
    "too large for a float": (
        lambda: frame_encoding(pd.DataFrame({"c": objects(10**400, 1)})),
        "Column 'c' of X must hold numbers",
    ),
    "complex numbers": (
        lambda: frame_encoding(spoiled(c=1.0))(spoiled(c=1j)), "must hold numbers, as it did"
    ),
    "names that are numbers, in another order": (
        lambda: frame_encoding(spoiled(**{"0": 1, "1": 2}).set_axis([0, 1], axis=1))(
            spoiled(**{"0": 1, "1": 2}).set_axis([1, 0], axis=1)
        ),
        "must be in the order that they had in fit: got '1' where '0' was",
    ),
    "a column less": (
        lambda: fitted().predict(frame().drop(columns="age")), "yet now missing:\n- age"
    ),
    "another order": (lambda: fitted().predict(frame()[[*frame()][::-1]]), "in the same order"),
    "a sparse matrix": (lambda: fitted().predict(csr_matrix((3, 4))), "one of shape ()"),
    "one column": (lambda: fitted().predict(frame()["age"]), "one of shape (400,)"),
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
