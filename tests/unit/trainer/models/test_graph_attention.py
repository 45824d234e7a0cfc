"""Attention over neighbours."""

from __future__ import annotations

import torch

from trainer.models.graph import Graph
from trainer.models.graph_attention import GraphAttention


def test_graph_attention_equals_a_loop_over_edges() -> None:
    days, stocks, neighbours, hidden, heads = 2, 5, 3, 8, 2
    layer = GraphAttention(hidden, heads, dropout=0.0).eval()
    h = torch.randn(days, stocks, hidden)
    graph = Graph(torch.randint(-1, stocks, (days, stocks, neighbours)), torch.rand(days, stocks, neighbours))
    graph.neighbours[0, 0] = -1  # one without any
    mask = torch.rand(days, stocks) < 0.7
    normed, found = layer.norm(h), layer(h, graph, mask)
    messages = layer.message(normed).view(days, stocks, heads, -1)
    for day in range(days):
        for stock in range(stocks):
            edges = [
                (int(j), w)
                for j, w in zip(graph.neighbours[day, stock], graph.weights[day, stock], strict=True)
                if j >= 0 and mask[day, j]
            ]
            if not edges:
                assert torch.equal(found[day, stock], h[day, stock])
                continue
            logits = torch.stack(
                [
                    torch.nn.functional.leaky_relu(
                        layer.receiving(normed[day, stock]) + layer.sending(normed[day, j]), 0.2
                    )
                    + w * layer.edge
                    for j, w in edges
                ]
            ).softmax(dim=0)
            mixed = sum(share.unsqueeze(-1) * messages[day, j] for share, (j, _) in zip(logits, edges, strict=True))
            gate = torch.sigmoid(layer.gate(normed[day, stock]))
            expected = h[day, stock] + gate * layer.out(mixed.flatten())
            torch.testing.assert_close(found[day, stock], expected, rtol=1e-4, atol=1e-5)
