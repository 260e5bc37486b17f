"""Weakly labelled texts: what the files say, and what is refused."""

import json

import pytest
import torch

from l2b.data import prepare
from l2b.datasets.trec import Trec
from l2b.datasets.yoruba import Yoruba
from l2b.noise import Existing
from test_datasets import needs_data, write_trec, write_yoruba


def test_yoruba_labels_and_titles(tmp_path):
    source = Yoruba(root=write_yoruba(tmp_path)).load()
    assert source.train.inputs.shape[0] == 16 and source.trusted.tolist() == [12, 13, 14, 15]
    names = [source.classes[k] for k in source.train.labels.tolist()]
    assert names[:4] == names[12:] == ["nigeria", "sport", "health", "world"]
    weak = [source.classes[k] for k in source.annotations["weak"].tolist()]
    assert weak[:3] == ["sport", "health", "world"] and weak[12:] == names[12:]
    torch.testing.assert_close(source.train.inputs.norm(dim=1), torch.ones(16))


def test_trec_leaves_abstentions_out(tmp_path):
    source = Trec(root=write_trec(tmp_path)).load()
    assert len(source.train.labels) == 11 + 4 and source.trusted.tolist() == [11, 12, 13, 14]
    assert source.annotations["weak"].tolist()[:2] == [2, 3]
    assert source.train.labels.tolist()[11:] == [0, 1, 2, 3]


@pytest.mark.parametrize(("kind", "write"), [(Trec, write_trec), (Yoruba, write_yoruba)])
def test_fewer_words_can_be_kept(kind, write, tmp_path):
    root = write(tmp_path)
    assert kind(root=root, max_features=3).load().train.inputs.shape[1] == 3
    with pytest.raises(ValueError, match=f"{kind.__name__} needs max_features >= 1"):
        kind(max_features=0)


def test_yoruba_names_a_damaged_file(tmp_path):
    file = write_yoruba(tmp_path) / "train_clean.tsv"
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace("health", "heal", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"train_clean\.tsv must .*got 'heal' in line 4"):
        Yoruba(root=tmp_path).load()
    file.write_text(whole.replace("news_title", "title"), encoding="utf-8")
    with pytest.raises(ValueError, match="columns news_title and label, got bbc_url_id, date"):
        Yoruba(root=tmp_path).load()
    file.write_text("\n".join(whole.splitlines()[:-1]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"must hold the titles of train_clean\.tsv in the same"):
        Yoruba(root=tmp_path).load()


def test_trec_names_a_damaged_file(tmp_path):
    file = write_trec(tmp_path) / "dev_data.json"
    file.write_text("[{")
    with pytest.raises(ValueError, match=r"dev_data\.json is no JSON file"):
        Trec(root=tmp_path).load()
    file.write_text("{}")
    with pytest.raises(ValueError, match="must hold a list of questions, got dict"):
        Trec(root=tmp_path).load()
    for row in ({"text": "x", "label": 6, "major": 0}, {"text": "x", "label": 1}, "x"):
        file.write_text(json.dumps([row]))
        with pytest.raises(ValueError, match="question 0 has not"):
            Trec(root=tmp_path).load()


@needs_data
@pytest.mark.parametrize(
    ("dataset", "sizes", "rate"),
    [(Yoruba, (1340, 189, 379, 4059), 0.333), (Trec, (4585, 603, 603, 7538), 0.460)],
)
def test_the_real_files(dataset, sizes, rate, data_root):
    name = {"Yoruba": "yoruba_news", "Trec": "trec_weak"}[dataset.__name__]
    source = dataset(root=data_root / name).load()
    data = prepare(source, Existing(annotation="weak"), clean=sizes[1], validation=0.0, seed=0)
    found = (len(data.train), len(data.clean), len(data.test), source.train.inputs.shape[1])
    assert found == sizes
    assert abs(data.noise_rate - rate) < 1e-3
