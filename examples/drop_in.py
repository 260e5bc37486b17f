"""The drop-in: a training loop of one's own, with learned weights in two lines."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import l2b

WRONG, CHECKED = 0.7, 50


def main(epochs: int = 20) -> float:
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 8 - 1, y, test_size=500, random_state=0)
    x, x_test = torch.tensor(x).float(), torch.tensor(x_test).float()
    y, y_test = torch.tensor(y), torch.tensor(y_test)
    clean_x, clean_y = x[:CHECKED], y[:CHECKED]
    x, y = x[CHECKED:], y[CHECKED:]
    observed = torch.where(torch.rand(len(y)) < WRONG, torch.randint(10, y.shape), y)

    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            weights = l2b.weigh(model, x[rows], observed[rows], clean_x, clean_y)
            loss = l2b.bootstrapped_loss(model(x[rows]), observed[rows], weights)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()

    accuracy = (model(x_test).argmax(dim=1) == y_test).float().mean().item()
    wrong = (observed != y).float().mean().item()
    print(f"{wrong:.0%} of the labels wrong; {accuracy:.1%} of the test set right")
    return accuracy


if __name__ == "__main__":
    main()
