"""What `l2b run`, `audit`, `demo` and `theory` say when asked for help."""

THEORY_HELP = """Check the paper's claims by computation: equivalence, gradients, convergence.
Exit status 1 if a claim fails.

With settings of a run (l2b theory --data digits --model mlp --lr 0.2), measure instead how far
that step size is from the one that provably never raises the clean loss, at the start of
training or at the parameters of a former run (--weights DIR/model.safetensors).
"""

AUDIT_HELP = """Find the labels that are wrong: a table, a summary, and a page to review them.

  l2b audit runs/first                                 labels or masks that a run learned from
  l2b audit --csv news.csv --label topic --text title --clean checked
                                                       your own file: train and audit in one go
  l2b audit --csv scans.csv --label edema,mass --images scans --clean checked
                                                       several labels of yes or no a sample
  l2b audit runs/first --next 50                       which labels to check next
  l2b audit runs/first --apply decisions.csv           write the corrected labels
  l2b audit runs/first --apply suggestions             correct them unseen
  l2b audit runs/scans --apply runs/scans/audit/suggested --out scans-corrected
                                                       masks: a data folder with what you corrected
  l2b audit runs/news --clean decisions.csv --out runs/again
                                                       learn from what you checked, audit again

With --csv, give --text or --images, or neither to use all other columns. Settings of `l2b run`
such as --epochs 30 or --seed 1 may follow. All files go into the folder `audit` of the run:
--out, or else RUN, or with --csv runs/audit-<name of the file>.
Of runs on masks, edit the files in audit/suggested; --clean FILE lists masks that are right as
given.
"""

DEMO_HELP = """Compare six ways to learn from handwritten digits, two in five of which got
a label at random: a table of accuracies, and pictures of how they were reached. Nothing is fetched.
"""

RUN_HELP = """usage: l2b run [--out DIR] [--config FILE] [--resume | --overwrite] [settings]

Train one method on one noisy data set and leave a folder that can be read, repeated
(l2b run --config DIR/run.yaml --out OTHER) and resumed (--resume).

  l2b run --data digits --noise symmetric --rate 0.4 --method l2b --clean 50 --out runs/first

A setting goes by its dotted name, or by the last part of it where only one setting ends so
(--rate is --noise.rate). Choosing another extension (--method, --data, ...) changes which
settings exist below it: add --help to see them. `l2b list` shows all extensions.

  --out DIR             folder of the run (default: runs/<data>-<noise>-<method>-seed<n>)
  --config FILE         settings as YAML, such as a former run's run.yaml
  --resume              go on from the last checkpoint in the folder
  --overwrite           replace the run in the folder
  --launch N            share every batch among N processes on this machine
  --quiet               no progress bar
  --debug               full traceback on errors

SIGTERM saves after the step at hand and ends with status 75; --resume then goes on as if nothing
had happened. Other statuses: 0 done, 2 refused or failed (the message says why), 130 interrupted.
"""
