"""Retrieval that stays on a device: a task's search as tensor operations of fixed shapes over a whole batch.

Axes: R rows, L positions, T positions at which three consecutive tokens begin, E edges that fit into the text.

Decoding on a GPU reads no token on the host, so it cannot call a `retrieval.Retriever`, which runs there.  The search
here gives the same answers (tests/decoding/test_retrieval.py compares them).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from retrieval_gap.decoding.retrieval import RetrieverName
from retrieval_gap.tasks.api import BOS, FAILED, STARTSEARCH, Task
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.istree.traces import EDGE, FATHER, NODE_0

DeviceRetriever = Callable[[Tensor, Tensor], Tensor]
"""(tokens_RxL int32, position int64 scalar) -> result_R int32: the answer to each row's search, whose `[ENDSEARCH]` is
the token before `position`, or FAILED.  Tokens from `position` on play no part."""


def make_device_retriever(task: Task, name: RetrieverName | None = None) -> DeviceRetriever | None:
    """The task's search on a device; None where it has none, or `name` is another retriever."""
    searches_as_istree = isinstance(task, IsTree) and all(
        getattr(type(task), method) is getattr(IsTree, method) for method in ("fast_search", "search_pattern")
    )
    return search_istree if searches_as_istree and name in (None, "fast") else None


def search_istree(tokens_RxL: Tensor, position: Tensor) -> Tensor:
    """IsTree's three queries (see `tasks.istree.search`): `v ~`, `v -` and `v - w`.

    A well-formed query has two or three tokens, none of them `[STARTSEARCH]`, so the last five tokens show whether
    there is one.  A place before the text reads as the first token, which cannot match two places of a query.
    """
    back_5 = position - torch.arange(5, 0, -1, device=tokens_RxL.device)
    fifth, fourth, third, second, _ = tokens_RxL.index_select(1, back_5.clamp(min=0)).unbind(1)
    has_two = (fourth == STARTSEARCH) & (third >= NODE_0) & ((second == FATHER) | (second == EDGE))
    has_three = (fifth == STARTSEARCH) & (fourth >= NODE_0) & (third == EDGE) & (second >= NODE_0)
    begin_Rx1 = (position - torch.where(has_three, 5, 4))[:, None]
    v_Rx1, after_Rx1 = torch.where(has_three, fourth, third)[:, None], second[:, None]

    of_father_R = _father(tokens_RxL, begin_Rx1, v_Rx1)
    of_edge_R = _edge(tokens_RxL, v_Rx1, after_Rx1, has_three[:, None])
    result_R = torch.where(has_two & (second == FATHER), of_father_R, of_edge_R)
    return torch.where(has_two | has_three, result_R, FAILED).to(tokens_RxL.dtype)


def _father(tokens_RxL: Tensor, begin_Rx1: Tensor, v_Rx1: Tensor) -> Tensor:
    """f of the first `v ~ f` before `begin`."""
    subject_RxT, sign_RxT, father_RxT = tokens_RxL[:, :-2], tokens_RxL[:, 1:-1], tokens_RxL[:, 2:]
    place_T = torch.arange(father_RxT.shape[1], device=tokens_RxL.device)
    fact_RxT = (subject_RxT == v_Rx1) & (sign_RxT == FATHER) & (father_RxT >= NODE_0) & (place_T + 2 < begin_Rx1)
    return _token_at(father_RxT, _first(fact_RxT))


def _edge(tokens_RxL: Tensor, v_Rx1: Tensor, after_Rx1: Tensor, has_after_Rx1: Tensor) -> Tensor:
    """The other end of v's first edge in the prompt, or of its first edge after its (first) edge with `after`.

    The prompt ends where no further edge follows, at the query's `[STARTSEARCH]` at the latest.
    """
    room = (tokens_RxL.shape[1] - 1) // 3
    left_RxE, sign_RxE, right_RxE = tokens_RxL[:, 1 : 1 + 3 * room].unflatten(1, (room, 3)).unbind(2)
    place_E = torch.arange(room, device=tokens_RxL.device)
    whole_RxE = (left_RxE >= NODE_0) & (sign_RxE == EDGE) & (right_RxE >= NODE_0)
    prompt_ends_R = _first(~whole_RxE | (tokens_RxL[:, :1] != BOS))
    of_v_RxE = ((left_RxE == v_Rx1) | (right_RxE == v_Rx1)) & (place_E < prompt_ends_R[:, None])
    other_RxE = torch.where(left_RxE == v_Rx1, right_RxE, left_RxE)
    after_place_Rx1 = _first(of_v_RxE & (other_RxE == after_Rx1))[:, None]
    behind_RxE = (place_E > after_place_Rx1) | ~has_after_Rx1
    return _token_at(other_RxE, _first(of_v_RxE & behind_RxE))


def _first(true_RxT: Tensor) -> Tensor:
    """The position of each row's first true value; T where there is none."""
    place_T = torch.arange(true_RxT.shape[1], device=true_RxT.device)
    return torch.where(true_RxT, place_T, true_RxT.shape[1]).amin(1)


def _token_at(tokens_RxT: Tensor, place_R: Tensor) -> Tensor:
    """Each row's token at its `place_R`; FAILED where that is past the end."""
    width = tokens_RxT.shape[1]
    token_R = tokens_RxT.gather(1, place_R.clamp(max=width - 1)[:, None])[:, 0]
    return torch.where(place_R < width, token_R, FAILED)
