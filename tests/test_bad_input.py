"""Bad input of every kind: one line that says what came, what was expected, and what to do."""

import gzip
import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

import l2b
from l2b import normalise, pseudo
from l2b.cli import main
from l2b.config import parse
from l2b.data import prepare
from l2b.datasets.arrays import Arrays
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import read_idx
from l2b.datasets.image_folder import ImageFolder
from l2b.datasets.table import Table
from l2b.engines import FiniteDifference, LastLayer
from l2b.experiment import Run
from l2b.files import read_tree
from l2b.grid import read_grid
from l2b.guards import Guards
from l2b.lookahead import OptimiserStep
from l2b.methods.as_published import AsPublished
from l2b.methods.bootstrap import Bootstrap
from l2b.methods.fine_tune import FineTune
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2b import L2B
from l2b.methods.l2rw import L2RW
from l2b.methods.mw_net import MwNet
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp
from l2b.noise.matrix import Matrix
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.optimise import Hyperbolic, Optimiser, Steps
from l2b.tables import TableFile
from l2b.train import Training

DIGITS = Digits().load()


def settings(words, text=""):
    return lambda _: parse(Run, words.split(), text)


def yaml(text):
    return settings("", text)


def arrays(**changes):
    """Load an .npz file in which these arrays are changed; None leaves one out."""
    y = np.arange(90) % 3
    made = {"x_train": np.zeros((90, 4), np.float32), "y_train": y}
    made = {k: v for k, v in {**made, **changes}.items() if v is not None}

    def load(tmp_path):
        np.savez(tmp_path / "mine.npz", **made)
        Arrays(path=tmp_path / "mine.npz").load()

    return load


def spoiled(value, dtype=np.float32):
    x = np.zeros((90, 4), dtype)
    x[3, 1] = value
    return x


def npz(content):
    def load(tmp_path):
        (tmp_path / "mine.npz").write_bytes(content() if callable(content) else content)
        Arrays(path=tmp_path / "mine.npz").load()

    return load


def cut_npz():
    file = io.BytesIO()
    np.savez(file, x_train=np.zeros((90, 4)), y_train=np.arange(90))
    return file.getvalue()[:-100]


def lying_npz():
    """An array whose header announces far more than there is, or than any memory holds."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**50, 8)}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train.npy", header.getvalue() + b"\0" * 64)
    return file.getvalue()


def csv(content, *columns):
    def load(tmp_path):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "mine.csv").write_bytes(data)
        list(TableFile(tmp_path / "mine.csv").rows(columns))

    return load


def table(content):
    """Load a CSV file whose labels are in column y."""

    def load(tmp_path):
        (tmp_path / "mine.csv").write_text(content)
        Table(path=tmp_path / "mine.csv", label="y").load()

    return load


def parquet(**columns):
    def load(tmp_path):
        pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
        list(TableFile(tmp_path / "mine.parquet").rows(list(columns)))

    return load


def latin(name, read):
    """Read a file that is in another encoding than UTF-8."""

    def call(tmp_path):
        (tmp_path / name).write_bytes("café: 1".encode("latin-1"))
        read(tmp_path / name)

    return call


def prepared(noise=None, clean=50, validation=0.2, source=DIGITS):
    def make(_):
        prepare(source, noise or NoNoise(), clean=clean, validation=validation, seed=0)

    return make


def labelled(labels, inputs=None):
    split = DIGITS.train._replace(labels=labels)
    if inputs is not None:
        split = split._replace(inputs=inputs)
    return replace(DIGITS, train=split)


def with_label(value):
    labels = DIGITS.train.labels.clone()
    labels[7] = value
    return labels


def fit(**changes):
    """Begin a run on digits whose training settings are changed."""
    model = changes.pop("model", Mlp(hidden=(4,)))
    method = changes.pop("method", L2B())
    training = {"epochs": 1, "batch": 64, **changes}
    return lambda _: Run(model=model, method=method, training=Training(**training)).execute(
        progress=False
    )


def weigh(model=None, observed=None, inputs=None, clean_labels=None, **options):
    def call(_):
        usual = nn.Linear(4, 3) if model is None else model
        l2b.weigh(
            usual,
            torch.zeros(6, 4) if inputs is None else inputs,
            torch.zeros(6, dtype=torch.int64) if observed is None else observed,
            torch.zeros(2, 4),
            torch.zeros(2, dtype=torch.int64) if clean_labels is None else clean_labels,
            **options,
        )

    return call


def frozen():
    return nn.Linear(4, 3).requires_grad_(False)


class Words(nn.Linear):
    def forward(self, x):
        return "three"


def images(**files):
    """A folder of images; keys are paths with __ for /, values contents."""

    def load(tmp_path):
        for name, content in files.items():
            path = tmp_path / "photos" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.with_suffix(".png").write_bytes(content)
        ImageFolder(root=tmp_path / "photos").load()

    return load


def png(width=4, height=4, mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "png")
    return file.getvalue()


def idx(content):
    def load(tmp_path):
        (tmp_path / "labels.gz").write_bytes(gzip.compress(content))
        read_idx(tmp_path / "labels.gz", dimensions=1)

    return load


def damaged_tree(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"PK\x03\x04 no such thing")
    read_tree(tmp_path / "x.safetensors")


def command(*words):
    """A command line; its error is what it prints."""

    def call(tmp_path):
        import contextlib

        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            status = main([word.replace("TMP", str(tmp_path)) for word in words])
        assert status == 2
        raise ValueError(said.getvalue().removeprefix("l2b: ").removesuffix("\n"))

    return call


def occupied(tmp_path):
    (tmp_path / "mine").write_text("mine")
    command("run", "--out", "TMP")(tmp_path)


def classifier(x=None, y=None, clean=None, **more):
    def call(_):
        rows = np.random.default_rng(0).normal(size=(40, 3))
        labels = np.arange(40) % 2
        settings = {k: more.pop(k) for k in ("epochs", "method") if k in more}
        l2b.L2BClassifier(**settings).fit(
            rows if x is None else x,
            labels if y is None else y,
            clean=np.arange(10) if clean is None else clean,
            **more,
        )

    return call


# Each: how to provoke it; what came; what was expected; what to do.
TABLE = {
    # names and settings
    "method": (settings("--method l2c"), "'l2c'", "Known: as_published,", "did you mean 'l2b'"),
    "data set": (settings("--data digit"), "'digit'", "Known: arr", "did you mean 'digits'"),
    "noise": (settings("--noise symetric"), "'symetric'", "Known:", "did you mean 'symmetric'"),
    "engine": (settings("--engine fwd"), "'fwd'", "double_backward", "forward"),
    "model": (settings("--model resnett"), "'resnett'", "preact_resnet", "did you mean"),
    "normaliser": (settings("--normalise positive"), "'positive'", "Known:", "'positive_share'"),
    "setting": (settings("--epoch 3"), "--epoch;", "no setting", "did you mean --training.epochs?"),
    "nonsense": (settings("--qqqqqq 3"), "--qqqqqq", "no setting", "see `l2b run --help`"),
    "stray word": (settings("stray"), "'stray'", "Expected a setting", "such as --seed 0"),
    "whole number": (
        settings("--epochs 2.5"), "'2.5'", "--training.epochs must be a whole number",
        "See `l2b run --help`",
    ),
    "number": (settings("--lr fast"), "'fast'", "lr must be a number", "See `l2b run --help`"),
    "choice": (
        settings("--precision half"), "'half'", "must be one of float32, bfloat16",
        "See `l2b run --help`",
    ),
    "flag": (settings("--cross_fit maybe"), "'maybe'", "must be true or false", "--help"),
    "number or none": (
        settings("--data fashion_mnist --limit q"), "'q'", "a whole number or none", "--help",
    ),
    "number or word": (
        settings("--warmup x"), "'x'", "--method.warmup must be a whole number or auto", "--help",
    ),
    "list": (
        settings("--model mlp --hidden [a]"), "'[a]'", "of which each is a whole number", "--help",
    ),
    "number in place of a column": (
        settings("--data table --path a.csv --label y --clean checked"), "'checked'",
        "--clean must be a whole number", "Or was --data.clean meant?",
    ),
    "required": (settings("--noise pair_flip"), "got nothing", "--noise.rate", "is required"),
    "yaml": (yaml("a: ["), "while parsing", "plain YAML", "as run.yaml of a finished run does"),
    "yaml list": (yaml("- a"), "got list", "named values", "write one `name: value` a line"),
    "yaml tag": (
        yaml("seed: !!python/object/apply:os.system [ls]"),
        "os.system", "plain YAML", "write names, numbers, texts and lists only",
    ),
    "yaml alias": (
        yaml("a: &a [1]\nb: [*a, *a]"), "alias", "plain YAML", "write names, numbers"
    ),
    "yaml depth": (yaml("[" * 5000), "too deeply", "plain YAML", "write names, numbers"),
    "yaml name": (
        yaml("training: {epoch: 3}"), "--training.epoch;", "no setting", "did you mean"
    ),
    # numbers in settings
    "epochs": (fit(epochs=0), "got 0", "at least 1", "how often the noisy samples"),
    "batch": (fit(batch=5000), "got 5000", "[1, 1247]", "number of training samples left"),
    "no batch": (fit(batch=0), "got 0", "[1, 1247]", "number of training samples left"),
    "clean batch": (fit(clean_batch=0), "got 0", "at least 1", "every step looks at clean"),
    "clip": (fit(clip=0.0), "got 0.0", "positive or none", "largest norm that a gradient may have"),
    "threads": (fit(threads=0), "got 0", "at least 1 or none", "none takes as many as"),
    "keep": (fit(keep=0), "got 0", "at least 1", "goes on from the newest checkpoint"),
    "patience": (lambda _: Guards(patience=0), "got 0", "at least 1", "how many steps in a row"),
    "save steps": (fit(checkpoint_every=0), "got 0", "at least 1 step", "or none"),
    "rate": (lambda _: Symmetric(rate=1.5), "got 1.5", "0 <= rate <= 1", "Symmetric"),
    "learning rate": (lambda _: Optimiser(lr=0), "got 0", "positive and finite", "often 0.001"),
    "infinite rate": (lambda _: Optimiser(lr=float("inf")), "got inf", "finite", "often 0.001"),
    "optimiser": (lambda _: Optimiser(kind="Sdg"), "'Sdg'", "Known: Ada", "did you mean 'SGD'"),
    "its option": (
        lambda _: Optimiser(options={"momentun": 1}), "'momentun'", "Known:", "'momentum'"
    ),
    "closure": (lambda _: Optimiser(kind="LBFGS"), "'LBFGS'", "known: Ada", "SGD"),
    "its option's value": (
        lambda _: Optimiser(options={"momentum": "hello"}), "'hello'", "do not suit SGD", "torch.op"
    ),
    "its option's kind": (
        lambda _: Optimiser(kind="Adam", options={"betas": 3}), "'betas': 3", "do not suit Adam",
        "see its arguments",
    ),
    "epochs for shares": (lambda _: Steps(at=(30, 60)), "(30, 60)", "in (0, 1)", "0.3 is epoch 30"),
    "rising steps": (lambda _: Steps(factor=-1), "-1", "factor > 0", "Steps needs"),
    "no half": (lambda _: Hyperbolic(half=0), "got 0", "half > 0", "half of the learning rate"),
    "backwards": (lambda _: FineTune(lr_factor=-1), "got -1", "lr_factor > 0", "multiplies"),
    "hard posterior": (
        lambda _: GoldPosterior(pseudo=pseudo.MovingAverage(soft=False)),
        "moving_average", "needs soft", "--method.pseudo.soft true",
    ),
    "idle folder": (command("theory", "--lr", "0.1", "--out", "x"), "--out", "no effect", "away"),
    "idle seeds": (
        command("figure", "masks", "TMP", "--seeds", "3"), "--seeds", "no effect", "is drawn"
    ),
    "temperature": (
        lambda _: normalise.Softmax(temperature=0), "got 0", "temperature > 0", "divided by it"
    ),
    "fixed weight": (
        lambda _: normalise.Fixed(alpha=-1), "got -1 and 0.2", "alpha >= 0", "train away from"
    ),
    "share": (lambda _: Bootstrap(share=2), "got 2", "0 <= share <= 1", "0 is cross_entropy"),
    "noisy share": (
        lambda _: FineTune(noisy_share=1), "got 1", "0 < noisy_share < 1", "at 1 it is"
    ),
    "warm-up": (lambda _: L2B(warmup=-1), "got -1", "0 or more", "0 weighs them from the start"),
    "weights' warm-up": (lambda _: L2RW(warmup=-1), "got -1", "0 or more", "0 weighs them"),
    "automatic warm-up": (lambda _: L2B(warmup="automatic"), "'automatic'", "or auto", "0 weighs"),
    "taught warm-up": (lambda _: MwNet(warmup="auto"), "got 'auto'", "0 or more", "0 weighs them"),
    "precision": (fit(precision="float16"), "'float16'", "float32 or bfloat16", "as fast without"),
    "device": (fit(device="cuda"), "got 'cuda'", "auto or cpu", "auto takes a GPU"),
    "monitor": (fit(monitor="x"), "got 'x'", "none or descent", "raised the clean loss"),
    "guard": (lambda _: Guards(non_finite="raise"), "'raise'", "skip or stop", "stop ends the run"),
    "old warm-up": (lambda _: AsPublished(warmup=-1), "got -1", "0 or more", "0 weighs them"),
    "decay": (lambda _: pseudo.MovingAverage(decay=1), "got 1", "decay < 1", "share of the old"),
    "soft self-labels": (
        lambda _: pseudo.SelfLabels(soft=True), "got True", "soft=False", "Take soft labels from"
    ),
    "step length": (lambda _: FiniteDifference(length=0), "got 0", "length > 0", "length of the"),
    "width": (lambda _: ConvNet(width=0), "got 0", "width >= 1", "number of channels"),
    "hidden layer": (lambda _: Mlp(hidden=(0,)), "got (0,)", "at least 1 unit", "leave a layer"),
    "dropout": (lambda _: Mlp(dropout=1.0), "got 1.0", "0 <= dropout < 1", "nothing would get"),
    "image model": (
        lambda _: ConvNet().build((4,), 3), "(4,)", "needs images", "use mlp"
    ),
    # matrices
    "no matrix": (lambda _: Matrix(), "got neither", "either rows or path", "exactly one"),
    "row sum": (
        lambda _: Matrix(rows=((0.9, 0.2), (0, 1))), "sum 1.1", "sum to 1", "row k says how often"
    ),
    "matrix size": (
        lambda _: Matrix(rows=((1, 0), (0, 1))).transition(3), "2 × 2", "3 × 3", "it must be"
    ),
    "matrix file": (
        lambda t: Matrix(path=t / "m.csv").transition(3), "m.csv", "no file", "one row per class"
    ),
    # arrays
    "no file": (lambda t: Arrays(path=t / "no.npz").load(), "no.npz", "no file", "write it with"),
    "no archive": (npz(b"hello"), "mine.npz", "as .npz", "Write it with np.savez"),
    "empty file": (npz(b""), "mine.npz", "as .npz", "Write it with np.savez"),
    "cut archive": (npz(cut_npz), "mine.npz", "as .npz", "Write it with np.savez"),
    "lying archive": (npz(lying_npz), "mine.npz", "as .npz", "Write it with np.savez"),
    "objects": (
        arrays(x_train=np.array([{}] * 90)), "Python objects", "arrays of numbers", "Write it with"
    ),
    "missing array": (arrays(y_train=None), "y_train is missing", "must hold x_train", "may hold"),
    "unknown array": (arrays(z=np.zeros(3)), "z is unknown", "must hold x_train", "may hold"),
    "half a test set": (
        arrays(x_test=np.zeros((3, 4))), "y_test is missing", "must hold", "both of x_test"
    ),
    "flat inputs": (arrays(x_train=np.zeros(90)), "(90,)", "[N, features]", "one row per sample"),
    "no inputs": (
        arrays(x_train=np.zeros((0, 4)), y_train=np.zeros(0, int)), "(0, 4)", "not be empty", "[N,"
    ),
    "whole inputs": (
        arrays(x_train=np.zeros((90, 4), int)), "got int64", "floats or uint8", ".astype('float32')"
    ),
    "nan": (arrays(x_train=spoiled(np.nan)), "nan in row 3, column 1", "finite", "drop the rows"),
    "infinity": (arrays(x_train=spoiled(-np.inf)), "got -inf in row 3", "finite", "fill them"),
    "too large": (arrays(x_train=spoiled(1e300, float)), "got 1e+300", "finite", "fill them"),
    "float labels": (
        arrays(y_train=np.zeros(90)), "got float64", "one integer or string", "start at 0"
    ),
    "label matrix": (
        arrays(y_train=np.zeros((9, 3, 1), int)), "(9, 3, 1)", "one integer or string", "start at 0"
    ),
    "mixed labels": (
        arrays(x_test=np.zeros((3, 4), np.float32), y_test=np.array(list("abc"))),
        "strings in y_test only", "all integers or all strings", "could not be compared",
    ),
    "label from 1": (
        arrays(y_train=np.arange(90) % 3 + 1), "got 3", "integers 0 to 2", "renumber them from 0"
    ),
    "negative label": (
        arrays(y_train=np.arange(90) % 3 - 1), "got -1", "integers 0 to 2", "renumber them"
    ),
    "one class": (arrays(y_train=np.zeros(90, int)), "got 0", "at least 2", "nothing to tell"),
    "classes twice": (
        arrays(classes=np.array(["a", "a", "b"])), "got a, a, b", "different classes", "nothing to"
    ),
    "label count": (
        arrays(y_train=np.arange(89) % 3), "89 labels", "90 samples", "every sample needs exactly"
    ),
    "test shape": (
        arrays(x_test=np.zeros((3, 5), np.float32), y_test=np.arange(3)), "(5,)", "(4,)", "look"
    ),
    "checked twice": (
        arrays(clean_index=np.array([1, 1])), "shape (2,)", "different rows", "integers in [0, 90)"
    ),
    "checked nobody": (
        arrays(clean_index=np.array([90])), "from 90 to 90", "in [0, 90)", "rows of x_train"
    ),
    # splits
    "clean too few": (prepared(clean=5), "got 5", "[10, 1297]", "one trusted sample for each"),
    "clean too many": (prepared(clean=5000), "got 5000", "[10, 1297]", "at most as many as"),
    "validation": (prepared(validation=1.0), "got 1.0", "[0, 1)", "0 keeps none"),
    "class label": (
        prepared(source=labelled(with_label(10))), "got 10", "[0, 10) for 10 classes", "renumber"
    ),
    "short labels": (
        prepared(source=labelled(DIGITS.train.labels.int())), "torch.int32", "int64", "call .long()"
    ),
    "input count": (
        prepared(source=labelled(DIGITS.train.labels[:-1])), "1296 labels", "1297 inputs", "exactly"
    ),
    "nan input": (
        prepared(source=labelled(DIGITS.train.labels, DIGITS.train.inputs.float() / 0.0)),
        "first in sample 0", "NaN or infinite", "fill or drop them",
    ),
    "unknown truth": (
        prepared(Symmetric(rate=0.1), source=replace(DIGITS, truth_known=False)),
        "as observed", "needs true labels", "choose --noise none",
    ),
    "nothing checked": (
        prepared(source=replace(DIGITS, truth_known=False)),
        "no sample is marked", "has no clean set", "Check a few hundred labels",
    ),
    "class never checked": (
        prepared(source=replace(DIGITS, trusted=(DIGITS.train.labels > 0).nonzero().flatten())),
        "no sample of '0'", "clean set", "Check at least one sample of every class",
    ),
    # the drop-in
    "short observed": (
        weigh(observed=torch.zeros(6, dtype=torch.int32)), "torch.int32", "int64", "call .long()"
    ),
    "class indices as floats": (
        weigh(observed=torch.zeros(6)), "torch.float32 of shape (6,)", "int64", "call .long()"
    ),
    "observed shape": (
        weigh(observed=torch.zeros(5, dtype=torch.int64)), "got (5,)", "shape (6,)", "one label for"
    ),
    "observed class": (weigh(observed=torch.full((6,), 3)), "got 3", "[0, 3)", "renumber the"),
    "clean class": (weigh(clean_labels=torch.full((2,), -1)), "got -1", "[0, 3)", "renumber"),
    "labels in a list": (weigh(observed=[0] * 6), "got list", "a tensor", "torch.as_tensor"),
    "clean labels in an array": (
        weigh(clean_labels=np.zeros(2, int)), "got ndarray", "`clean_labels`", "torch.as_tensor"
    ),
    "empty batch": (
        weigh(inputs=torch.zeros(0, 4), observed=torch.zeros(0, dtype=torch.int64)),
        "got the shape (0,)", "must not be empty", "Leave such batches out",
    ),
    "frozen model": (weigh(frozen()), "requires_grad=False", "trainable parameter", "Unfreeze"),
    "no logits": (weigh(Words(4, 3)), "got str", "must return logits", "wrap it"),
    "no such layer": (
        weigh(engine=LastLayer(layer="head")), "it has ''", "'head'", "LastLayer(layer="
    ),
    "no optimiser": (
        weigh(lookahead=OptimiserStep()), "OptimiserStep", "needs the optimiser", "or use Paper()"
    ),
    "foreign optimiser": (
        weigh(optimiser=torch.optim.SGD([nn.Parameter(torch.zeros(1))])),
        "'weight'", "does not hold the parameter", "model.parameters()",
    ),
    "no memory": (
        lambda _: pseudo.Temporal().build(nn.Linear(2, 2)), "Temporal", "number of", "samples=len("
    ),
    "no index": (
        lambda _: pseudo.Temporal().build(nn.Linear(2, 2), 9).update(
            nn.Linear(2, 2), torch.zeros(1, 2), None
        ),
        "Temporal", "which samples these are", "index=",
    ),
    # images and other files
    "no photos": (lambda t: ImageFolder(root=t / "no").load(), "no/train", "no folder", "<class>"),
    "one folder": (images(train__a__1=png()), "got a", "at least 2", "nothing to tell apart"),
    "empty folder": (
        images(train__a__1=png(), train__b__1=None), "got none", "must hold images", "fill the"
    ),
    "strange class": (
        images(train__a__1=png(), train__b__1=png(), test__c__1=png()),
        "test/c", "named like a class", "never learns other classes",
    ),
    "broken image": (
        images(train__a__1=png(), train__b__1=png()[:40]), "1.png", "as an image", "Fetch it again"
    ),
    "deep image": (
        images(train__a__1=png(), train__b__1=png(mode="I;16")), "got more", "8 bits", "Convert it"
    ),
    "image bomb": (
        images(train__a__1=png(), train__b__1=png(9000, 8000, "1")),
        "got 9000 × 8000", "at most 67,108,864 pixels", "Shrink it first",
    ),
    "no idx": (idx(b"hello"), "got 68656c6c", "00000801", "another kind of file"),
    "cut idx": (
        idx(b"\0\0\x08\x01" + struct.pack(">I", 9) + b"12"), "got 2", "announces 9", "Fetch it"
    ),
    "idx bomb": (
        idx(b"\0\0\x08\x01" + bytes(2**28)), "got more", "at most 268,435,456 bytes", "Fetch it"
    ),
    "no table": (
        lambda t: TableFile(t / "no.csv").rows([]), "no.csv", "no file", "give a CSV or Parquet"
    ),
    "empty table": (csv("", "a"), "is empty", "first line", "name the columns"),
    "no such column": (csv("text,label\n", "lable"), "'lable'", "text, label", "did you mean"),
    "column twice": (csv("a,a\n", "a"), "two columns called 'a'", "clear which", "rename one"),
    "ragged table": (csv("a,b\n1\n", "a"), "got 1", "must have 2 cells", "quote cells that hold"),
    "grid in another encoding": (
        latin("grid.yaml", lambda path: read_grid(path)), "0xe9", "grid.yaml", "save it as UTF-8"
    ),
    "settings in another encoding": (
        latin("run.yaml", lambda path: command("run", "--config", str(path))(path)),
        "0xe9", "run.yaml", "save it as UTF-8",
    ),
    "learning the answer": (
        lambda _: Table(path="a.csv", label="topic", text="topic"),
        "'topic'", "another column as text than as label", "learn from the answer",
    ),
    "checked by the label": (
        lambda _: Table(path="a.csv", label="topic", clean="topic"),
        "'topic'", "another column as clean than as label", "learn from the answer",
    ),
    "empty lines": (csv("\n \n", "a"), "is empty", "first line", "name the columns"),
    "large number": (
        table("x,y\n1,a\n2,b\n1e39,a\n"), "got 1e39 in row 2", "'x' must hold numbers that fit",
        "fill or remove it",
    ),
    "bytes in a table": (
        parquet(x=[b"1", b"2"]), "got bytes", "mine.parquet must hold text", "name a column of",
    ),
    "open quote": (csv('a,b\n"1,2\n', "a"), "damaged as CSV", "quote", "look for a quote"),
    "no text": (csv(b"a,b\n\xff,1\n", "a"), "0xff", "UTF-8", "save it as UTF-8"),
    "no checkpoint": (damaged_tree, "x.safetensors", "written by this library", "restore it from"),
    # folders and commands
    "file as folder": (
        command("run", "--out", "/dev/null"), "/dev/null is a file", "must name a folder", "--out"
    ),
    "full folder": (occupied, "is not empty", "choose another --out", "--overwrite"),
    "no settings file": (
        command("run", "--config", "no.yaml"), "no.yaml", "settings file", "(--config)"
    ),
    "stray option": (command("list", "--fast"), "'--fast'", "takes no", "see --help"),
    "launch nobody": (command("run", "--launch", "0"), "got 0", "at least 1", "--launch"),
    "no run": (command("audit", "TMP"), "holds no finished run", "run.yaml", "name the folder of"),
    # the estimator
    "lengths": (classifier(y=np.zeros(39)), "39", "40", "inconsistent"),
    "one label": (classifier(y=np.zeros(40)), "only one class", "at least 2 classes", "tell apart"),
    "nan row": (classifier(x=np.full((40, 3), np.nan)), "NaN", "Input X", "L2BClassifier"),
    "no label": (
        classifier(y=np.array([1, None] * 20)), "None", "no label in row 1", "leave out rows"
    ),
    "two kinds of label": (
        classifier(y=np.array([1, "1"] * 20, dtype=object)),
        "strings and others", "of one kind", "never equals",
    ),
    "clean range": (classifier(clean=np.array([40])), "from 40 to 40", "[0, 40)", "rows of X"),
    "all clean": (classifier(clean=np.arange(40)), "every row", "no noisy label", "leave out what"),
    "half clean": (
        classifier(X_clean=np.zeros((2, 3))), "got only X_clean", "together", "checked samples"
    ),
    "parameter": (classifier(epochs=0), "got 0", "must be", "Parameter epochs"),
}  # fmt: skip


def test_there_are_many():
    assert len(TABLE) >= 60


@pytest.mark.parametrize("name", TABLE)
def test_one_line_says_what_came_what_was_expected_and_what_to_do(name, tmp_path):
    provoke, came, expected, todo = TABLE[name]
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        provoke(tmp_path)
    said = " ".join(str(caught.value).split())
    for part in (came, expected, todo):
        assert part in said, f"{part!r} is not in: {said}"
    assert len(said) < 700
