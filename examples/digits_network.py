"""A network that reads handwritten digits, with any activation of fastrelu, in plain NumPy.

python examples/digits_network.py --activation gelu --epochs 30
"""

import argparse

from digits import Network, load

import fastrelu as fr

# those that need nothing but a number, and learn nothing by themselves
NAMES = [name for name, f in fr.ACTIVATIONS.items() if None not in f.row.defaults.values()]


def main(arguments=None):
    """Train, print the loss and the share of right answers, and return the last share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activation", choices=NAMES, default="gelu")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, nargs="*", default=[128, 64])
    parser.add_argument("--rate", type=float, default=0.2)
    options = parser.parse_args(arguments)
    x, labels, x_test, labels_test = load()
    network = Network([64, *options.hidden, 10], fr.ACTIVATIONS[options.activation])
    right = network.accuracy(x_test, labels_test)
    print(f"before training             {right:6.1%} of {len(x_test)} right")
    for epoch in range(1, options.epochs + 1):
        loss = network.epoch(x, labels, options.rate)
        right = network.accuracy(x_test, labels_test)
        if epoch == options.epochs or epoch % 5 == 0:
            print(f"epoch {epoch:3}   loss {loss:.4f}   {right:6.1%}")
    return right


if __name__ == "__main__":
    main()
