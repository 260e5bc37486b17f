"""Several yes-or-no labels a sample, some of them wrong and some missing."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import l2b
from l2b.losses import cross_entropy

WRONG, MISSING, CHECKED = 0.3, 0.1, 50
QUESTIONS = ("even", "above four", "with a loop", "prime")
ANSWERS = torch.tensor(
    [[d % 2 == 0, d > 4, d in (0, 6, 8, 9), d in (2, 3, 5, 7)] for d in range(10)]
)


def main(epochs: int = 20) -> float:
    torch.manual_seed(0)
    x, digit = load_digits(return_X_y=True)
    x, x_test, digit, digit_test = train_test_split(x / 8 - 1, digit, test_size=500, random_state=0)
    x, x_test = torch.tensor(x).float(), torch.tensor(x_test).float()
    y, y_test = (ANSWERS[torch.tensor(d)].long() for d in (digit, digit_test))
    clean_x, clean_y = x[:CHECKED], y[:CHECKED]
    x, y = x[CHECKED:], y[CHECKED:]
    observed = torch.where(torch.rand(y.shape) < WRONG, 1 - y, y)
    observed[torch.rand(y.shape) < MISSING] = -1  # nobody knows

    def right(weighed: bool) -> torch.Tensor:
        """Share of the test set that is right, for each question."""
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, len(QUESTIONS)))
        model = l2b.YesNo(network)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        pseudo = l2b.pseudo.MovingAverage(soft=False).build(model)
        for epoch in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                given = observed[rows]
                if weighed and epoch:
                    z, weights = l2b.weighed_pass(
                        model, x[rows], given, clean_x, clean_y,
                        normalise=l2b.normalise.PerSample(), pseudo=pseudo,
                    )  # fmt: skip
                    loss = l2b.bootstrapped_loss(z, given, weights)
                    loss = loss + 0.2 * cross_entropy(model(clean_x), clean_y).mean()
                else:  # binary cross-entropy
                    z = model(x[rows])
                    loss = cross_entropy(z, given).mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                pseudo.update(model, z.detach(), rows)
        return (model(x_test).argmax(dim=1) == y_test).float().mean(dim=0)

    plain, weighed = right(weighed=False), right(weighed=True)
    wrong = ((observed != y) & (observed >= 0)).float().mean().item()
    print(f"{wrong:.0%} of the labels wrong, {(observed < 0).float().mean():.0%} missing")
    for question, before, after in zip(QUESTIONS, plain.tolist(), weighed.tolist(), strict=True):
        print(f"{question:12} {before:.1%} by plain training, {after:.1%} weighed")
    return weighed.mean().item()


if __name__ == "__main__":
    main()
