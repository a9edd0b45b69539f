"""logsumexp, softmax and log_softmax along rows of at most 1000 entries, beside the peers."""

from fastrelu import peers

OPERATIONS = [operation for operation in peers.operations() if operation.is_reduction]


def test_reduction(job, benchmark):
    benchmark(job.call)
