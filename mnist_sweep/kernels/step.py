"""The small kernels around the layers of a step, written once for every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from typing import Any

from tinygrad import Tensor, UOp, dtypes

from mnist_sweep.kernels.batch import batch_row
from mnist_sweep.kernels.control import Control, Count, Real, kernel_sink, slot, total
from mnist_sweep.kernels.sizes import sized_kernel
from mnist_sweep.optimizers import Optimizer


def cross_entropy(
    logits: Tensor, labels: Tensor, control: Control, *, smoothed: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax cross-entropy of each row of the control's batch, hits, and slopes in the logits.

    ``logits`` (..., size, classes) float32 are those of each trial; ``labels`` (n,) uint8 those of
    the data set. Losses and hits, 1.0 where the largest logit (the first of equal ones) is the
    label, else 0.0, are (trials * size,); the slopes of each trial's mean loss are shaped like
    ``logits``. ``smoothed``: the labels are smoothed by each trial's ``label_smoothing`` (Szegedy
    et al., 2016): that share of each goes to all classes.
    """
    *_, size, classes = logits.shape
    trials = control.trials

    def kernel(*arguments: UOp) -> UOp:
        loss, hit, slope, z, labels, rows, counts, *reals = arguments
        k, i = UOp.range(trials, 0), UOp.range(size, 1)
        at = k * size + i
        z = [z.flatten()[at * classes + c] for c in range(classes)]
        # In an evaluation, all trials share the rows.
        order = k if rows.shape[0] == trials else UOp.const(0, dtypes.int)
        label = labels[batch_row(rows, counts, order, i, size)].cast(dtypes.int)
        top = reduce(UOp.maximum, z)
        powers = [(value - top).exp() for value in z]
        sum_of_powers = reduce(add, powers)
        chosen = reduce(add, [label.eq(c).where(z[c], 0.0) for c in range(classes)])
        before = [(UOp.const(c, dtypes.int) < label).where(z[c], -math.inf) for c in range(classes)]
        targets = [label.eq(c).where(1.0, 0.0) for c in range(classes)]
        expected = chosen  # the logit that the target expects
        if reals:
            share = reals[0][k, slot("label_smoothing")].load()
            targets = [target * (1 - share) + share * (1 / classes) for target in targets]
            mean = reduce(add, z) * (1 / classes)
            expected = chosen * (1 - share) + mean * share
        slopes = [(powers[c] / sum_of_powers - targets[c]) * (1 / size) for c in range(classes)]
        return kernel_sink(
            f"cross_entropy_{size}",
            loss[at].store(sum_of_powers.log() + top - expected),
            hit[at].store((chosen.eq(top) & (reduce(UOp.maximum, before) < top)).where(1.0, 0.0)),
            *(slope.flatten()[at * classes + c].store(slopes[c]) for c in range(classes)),
            over=(k, i),
        )

    empty = partial(Tensor.empty, device=logits.device)
    arguments = [logits, labels, control.rows, control.counts, *[control.reals] * smoothed]
    loss, hits, slopes, *_ = empty(trials * size).custom_kernel(
        empty(trials * size), empty(*logits.shape), *arguments, fxn=kernel
    )
    return loss, hits, slopes


def squared_norm(gradients: Sequence[Tensor], trials: int) -> Tensor:
    """The squared norm of all ``gradients`` together, of each of the trials: (trials,) float32."""

    def squares(gradient: Tensor) -> Tensor:
        size = gradient.numel() // trials
        lanes = math.gcd(size, 16)  # sums side by side: one alone would wait for each addition

        def kernel(out: UOp, g: UOp) -> UOp:
            i, k, values = UOp.range(lanes, 0), UOp.range(trials, 1), g.flatten()
            square = total(lambda j: values[k * size + j * lanes + i] ** 2, size // lanes, 2)
            return kernel_sink(f"squares_{size}", out[k, i].store(square), over=(i, k), lanes=lanes)

        out = Tensor.empty(trials, lanes, device=gradient.device)
        return out.custom_kernel(gradient.contiguous(), fxn=kernel)[0].sum(1)

    return reduce(add, map(squares, gradients)).contiguous()


def update_parameter(
    optimizer: Optimizer,
    parameter: Tensor,
    gradient: Tensor,
    slots: Sequence[Tensor],
    control: Control,
    *,
    decayed: bool = False,
    squared_norm: Tensor | None = None,
) -> list[Tensor]:
    """One optimizer step on ``parameter`` and its ``slots``, in place and in a single pass.

    All hold the control's trials one behind the other. ``decayed``: with decoupled weight decay by
    ``weight_decay`` (Loshchilov and Hutter, 2019). With the ``squared_norm`` of a step's gradients,
    (trials,), they are scaled down to the norm ``clip_norm`` where theirs is larger (Pascanu et
    al., 2013; the formula of PyTorch's ``clip_grad_norm_``).
    """
    trials = control.trials

    def kernel(sizes: Sequence[Any], *arguments: UOp) -> UOp:
        target, *state = arguments[: 1 + len(slots)]
        g, rates, reals, counts, *norms = arguments[1 + len(slots) :]
        size, steps = sizes
        k, i = UOp.range(trials, 0), UOp.range(size, 1)
        at, first = k * size + i, k * control.counts.shape[1]

        def real(place: int) -> UOp:
            return reals[k * control.reals.shape[1] + place].load()

        position = counts[first + Count.POSITION].load()
        lr = rates[k * steps + position].load() * real(Real.SCALE)
        step = (counts[first + Count.STEP].load() + 1).cast(dtypes.float)
        value = target[at]
        if decayed:
            value = value * (1 - lr * real(slot("weight_decay")))
        slope = g[at]
        for norm in norms:
            share = real(slot("clip_norm")) / (norm[k].load().sqrt() + 1e-6)
            slope = slope * (share < 1).where(share, 1.0)
        used = {name: real(slot(name)) for name in optimizer.uses}
        states = [s[at] for s in state]
        new, new_state = optimizer.update(value, slope, states, lr, step, **used)
        stores = [t[at].store(v) for t, v in zip((target, *state), (new, *new_state), strict=True)]
        return kernel_sink(f"update_{len(state)}", *stores, over=(k, i))

    arguments = [*slots, gradient.contiguous(), control.rates, control.reals, control.counts]
    arguments += [] if squared_norm is None else [squared_norm]
    sizes = [parameter.numel() // trials, control.rates.shape[1]]
    return sized_kernel(kernel, parameter, *arguments, sizes=sizes)[: 1 + len(slots)]


def advance(control: Control, loss: Tensor, hits: Tensor) -> list[Tensor]:
    """End a training step: move on to the next batch and let the plateau schedule decide.

    ``loss`` and ``hits`` are the results of ``cross_entropy``, (trials * batch size,). When
    ``patience`` steps are full and their mean loss is not below the best such mean,
    SCALE *= ``lr_decay``; a patience of 0 is never full.
    """
    trials = control.trials
    size = loss.shape[0] // trials

    def kernel(reals: UOp, counts: UOp, loss: UOp, hits: UOp, rates: UOp) -> UOp:
        k = UOp.range(trials, 0)

        def real(place: int) -> UOp:
            return reals[k, place].load()

        def count(place: int) -> UOp:
            return counts[k, place].load()

        batch_loss = total(lambda row: loss[k * size + row], size, 1) * (1 / size)
        window_loss = real(Real.WINDOW_LOSS) + batch_loss
        window_steps = count(Count.WINDOW_STEPS) + 1
        full = window_steps.cast(dtypes.float).eq(real(slot("patience")))
        mean = window_loss / window_steps.cast(dtypes.float)
        scale, best = real(Real.SCALE), real(Real.BEST_LOSS)
        better = mean < best
        decayed = (full & better.logical_not()).where(scale * real(slot("lr_decay")), scale)
        position = count(Count.POSITION)
        return kernel_sink(
            f"advance_{size}",
            reals[k, Real.SCALE].store(decayed),
            reals[k, Real.WINDOW_LOSS].store(full.where(0.0, window_loss)),
            reals[k, Real.BEST_LOSS].store((full & better).where(mean, best)),
            reals[k, Real.LOSS_SUM].store(real(Real.LOSS_SUM) + batch_loss),
            reals[k, Real.HITS].store(
                real(Real.HITS) + total(lambda row: hits[k * size + row], size, 2)
            ),
            reals[k, Real.LR].store(rates[k, position].load() * scale),
            counts[k, Count.POSITION].store(position + 1),
            counts[k, Count.STEP].store(count(Count.STEP) + 1),
            counts[k, Count.WINDOW_STEPS].store(full.where(0, window_steps)),
            over=(k,),
        )

    arguments = (control.counts, loss, hits, control.rates)
    written: list[Tensor] = control.reals.custom_kernel(*arguments, fxn=kernel)
    return written[:2]


def count_batch(control: Control, loss: Tensor, hits: Tensor) -> list[Tensor]:
    """End an evaluation step: add the batch to the sums, without the rows past the last image.

    The number of images is in ``counts[IMAGES]``.
    """
    trials = control.trials
    size = loss.shape[0] // trials

    def kernel(reals: UOp, counts: UOp, loss: UOp, hits: UOp) -> UOp:
        k = UOp.range(trials, 0)
        position = counts[k, Count.POSITION].load()

        def counted(values: UOp, row: UOp) -> UOp:
            valid = position * size + row < counts[k, Count.IMAGES].load()
            return valid.where(values[k * size + row], 0.0)

        def summed(place: int, values: UOp, axis: int) -> UOp:
            batch = total(partial(counted, values), size, axis)
            return reals[k, place].store(reals[k, place].load() + batch)

        return kernel_sink(
            f"count_{size}",
            summed(Real.LOSS_SUM, loss, 1),
            summed(Real.HITS, hits, 2),
            counts[k, Count.POSITION].store(position + 1),
            over=(k,),
        )

    written: list[Tensor] = control.reals.custom_kernel(control.counts, loss, hits, fxn=kernel)
    return written[:2]
