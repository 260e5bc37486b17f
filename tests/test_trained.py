"""Models of finished runs: they say of raw samples what their runs said."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import l2b
from l2b.catalog import default
from l2b.datasets.arrays import Arrays
from l2b.datasets.digits import Digits
from l2b.experiment import Run
from l2b.models import Model
from l2b.models.mlp import Mlp
from l2b.models.resnet import Resnet
from l2b.noise.none import NoNoise
from l2b.train import Training
from l2b.trained import TrainedModel

RUN = Run(training=Training(epochs=4, batch=256), model=Mlp(hidden=(16,), dropout=0.2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "a"
    RUN.execute(path, progress=False)
    return path


@pytest.mark.parametrize("epoch", ["last", "chosen"])
def test_it_says_of_raw_samples_what_the_run_said(folder, epoch):
    state = torch.get_rng_state()
    model = l2b.load_model(folder, epoch)
    assert torch.equal(torch.get_rng_state(), state)
    test = Digits().load().test
    found = model.predict(test.inputs)
    record = json.loads((folder / "result.json").read_text())
    assert (found == test.labels).float().mean().item() == record[f"{epoch}_accuracy"]
    assert model.classes == tuple("0123456789")
    p = model.predict_proba(test.inputs[:3])
    torch.testing.assert_close(p, torch.softmax(model(test.inputs[:3]), dim=1).detach())
    assert not model.training
    model.train()
    torch.testing.assert_close(model.predict_proba(test.inputs[:3]), p)  # without dropout
    assert model.training


def test_many_samples_go_block_by_block(folder, monkeypatch):
    model, images = l2b.load_model(folder), Digits().load().test.inputs
    whole = model.predict_proba(images)
    monkeypatch.setattr("l2b.trained.ROWS_AT_ONCE", 7)
    torch.testing.assert_close(model.predict_proba(images), whole)


@pytest.mark.parametrize(
    ("name", "masks", "tags"),
    [("conv_net", False, 0), ("mlp", False, 4), ("preact_resnet", False, 0), ("unet", True, 0)],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # the size of the images is fixed
def test_it_can_be_exported(name, masks, tags):
    chosen = default(Model, name).suited(masks=masks)
    network = chosen.network((3, 16, 16), 2 if tags else 5, tags=tags)
    scale = torch.full((3, 1, 1), 100.0), torch.full((3, 1, 1), 50.0)
    model = TrainedModel(network, *scale, list("abcde"), [3, 16, 16], None, list("wxyz")[:tags])
    raw = torch.rand(5, 3, 16, 16) * 255
    wanted = model.eval()(raw)
    traced = torch.jit.trace(model, raw[:2])
    torch.testing.assert_close(traced(raw), wanted)
    any_number = ({0: torch.export.Dim("n")},)
    exported = torch.export.export(model, (raw[:2],), dynamic_shapes=any_number).module()
    torch.testing.assert_close(exported(raw), wanted)


def test_the_weights_that_it_began_with_are_not_needed(tmp_path):
    run = replace(RUN, model=Resnet(width=4), training=replace(RUN.training, epochs=1))
    run.execute(tmp_path / "first", progress=False)
    begin = replace(run, model=replace(run.model, weights=tmp_path / "first/model.safetensors"))
    begin.execute(tmp_path / "second", progress=False)
    (tmp_path / "first" / "model.safetensors").unlink()
    assert l2b.load_model(tmp_path / "second").predict(torch.zeros(1, 1, 8, 8)).shape == (1,)


def test_mistakes_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="epoch must be one of last, chosen, got 'best'"):
        l2b.load_model(folder, "best")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="holds no finished run"):
            l2b.load_model(path)
    model = l2b.load_model(folder)
    assert model.predict(np.zeros((2, 1, 8, 8))).shape == (2,)
    for value in (torch.nan, 1e39):  # of which float64 holds one
        with pytest.raises(ValueError, match="takes finite samples"):
            model.predict(torch.full((1, 1, 8, 8), value, dtype=torch.float64))
    for shape in ((3, 8, 8), (0, 1, 8, 8), (1, 8, 8)):
        with pytest.raises(ValueError, match=r"samples of shape \(1, 8, 8\), got a tensor of"):
            model.predict(torch.zeros(shape))


def test_without_samples_kept_aside_there_is_no_chosen_epoch(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, clean_index=np.arange(12))
    run = replace(
        RUN, data=Arrays(path=tmp_path / "a.npz"), noise=NoNoise(), clean=12, validation=0.0
    )
    run = replace(run, training=Training(epochs=2, batch=16))
    run.execute(tmp_path / "run", progress=False)
    with pytest.raises(FileNotFoundError, match='Take epoch="last"'):
        l2b.load_model(tmp_path / "run", "chosen")
    model = l2b.load_model(tmp_path / "run")
    assert model.shape == (4,) and model.predict(torch.from_numpy(x)).shape == (60,)
