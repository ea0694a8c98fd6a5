"""`Learner`: updates the policy from a step's completions by the loss, its gradient and AdamW."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from examples.grpo.advantage import clipped_loss, k3, token_mean
from examples.grpo.config import Config
from examples.grpo.measures import Row
from examples.grpo.policy import Policy, Scores, score
from examples.grpo.rollout import Rollout

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""


class Learner:
    """AdamW over the policy's trainable weights, and a frozen copy of the policy if the KL penalty needs one."""

    def __init__(self, config: Config, policy: Policy, steps: int) -> None:
        self._config, self._policy, self._steps = config, policy, steps
        self._weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._weights, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self._reference = copy.deepcopy(policy.model).requires_grad_(False) if config.kl else None

    def update(self, rollout: Rollout, advantages: Tensor, step: int) -> Row:
        """Update the policy from n completions and their advantages (n). Gradients add up over micro-batches."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._config, step, self._steps)
        n, size = len(advantages), self._config.micro_batch
        parts = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        fixed = [self._fixed(rollout, part) for part in parts]
        for _ in range(self._config.updates_per_step):
            self.optimizer.zero_grad()
            sums = torch.zeros(4)
            for part, (old, reference) in zip(parts, fixed, strict=True):
                scores = self._score(self._policy.model, rollout, part, entropy=self._config.entropy_bonus > 0)
                sums_of_part = self._losses(scores, advantages[part], old, reference)
                torch.autograd.backward(sums_of_part[0] / n)
                sums += sums_of_part.detach().cpu()
            norm = nn.utils.clip_grad_norm_(self._weights, self._config.max_grad_norm)
            self.optimizer.step()
        return dict(zip(("loss", "kl", "surprise", "clipped"), (sums / n).tolist(), strict=True)) | {
            "grad_norm": float(norm)
        }

    def _losses(self, scores: Scores, advantages: Tensor, old: Tensor | None, reference: Tensor | None) -> Tensor:
        """Four sums over B completions: the loss, and the token means of KL, -log p and clipping."""
        config, logp = self._config, scores.logp
        old = logp.detach() if old is None else old
        advantages = advantages.to(logp.device)
        loss = clipped_loss(logp, old, advantages, config.clip)
        kl = torch.zeros_like(logp) if reference is None else k3(logp, reference)
        loss = loss + config.kl * kl
        if scores.entropy is not None:
            loss = loss - config.entropy_bonus * scores.entropy
        ratio = (logp - old).exp()
        clipped = torch.where(advantages[:, None] > 0, ratio > 1 + config.clip, ratio < 1 - config.clip).float()
        logged = (kl, -logp, clipped)
        means = [token_mean(values, scores.mask, "grpo", config.max_completion).sum() for values in logged]
        return torch.stack([token_mean(loss, scores.mask, config.variant, config.max_completion).sum(), *means])

    @torch.no_grad()
    def _fixed(self, rollout: Rollout, part: slice) -> tuple[Tensor | None, Tensor | None]:
        """Log-probabilities (B, C) of the sampling policy and of the reference, which stay constant during the update.

        None if they are not needed: with one update per step, the current policy is the sampling policy.
        """
        old = self._score(self._policy.model, rollout, part).logp if self._config.updates_per_step > 1 else None
        return old, self._score(self._reference, rollout, part).logp if self._reference is not None else None

    def _score(self, model: nn.Module, rollout: Rollout, part: slice, entropy: bool = False) -> Scores:
        prompts, completions = rollout.prompts[part], rollout.completions[part]
        return score(self._policy, model, prompts, completions, self._config.temperature, entropy)


def learning_rate(config: Config, step: int, steps: int) -> float:
    """AdamW's learning rate in step 0 ... steps - 1: constant, or a linear rise over a tenth and a cosine fall to 0."""
    if config.schedule == "constant":
        return config.learning_rate
    rise = math.ceil(WARM_UP * steps)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
