"""One of two processes that share a batch: normalises its half, and writes what came of it."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from swiftsiam.model.normalisation import rank_batch_norms

folder, rank, compiled = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "compiled"
case = torch.load(folder / "case.pt", weights_only=False)
network = rank_batch_norms(case["network"], dist.group.WORLD)
step = torch.compile(network, fullgraph=True) if compiled else network
made = []
for whole, weights in zip(case["inputs"], case["weights"], strict=True):
    share = whole.chunk(2)[rank].clone(memory_format=torch.preserve_format).requires_grad_()
    output = step(share)
    (output * weights.chunk(2)[rank]).sum().backward()
    made.append((output.detach(), share.grad))
network.eval()
evaluated = network(case["inputs"][0]).detach()
gradients = {name: p.grad for name, p in network.named_parameters()}
torch.save((made, gradients, network.state_dict(), evaluated), folder / f"made-{rank}.pt")
