"""Activations, forward and backward, beside the peers.

At 16 elements everybody's time contains about 40 ns for the function around the line that is timed;
``test_call_cost.py`` has the cost of a call without it.
"""

from fastrelu import peers

OPERATIONS = [operation for operation in peers.operations() if not operation.is_reduction]


def test_activation(job, benchmark):
    benchmark(job.call)
