"""Any causal language model of Hugging Face as the policy, whole or with LoRA adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from examples.grpo.policy import Tokens, cut, padded
from examples.grpo.tasks.task import Question


class CausalLM:
    """A pretrained model on the GPU, or where there is none on the CPU.

    Args:
        name: on the hub, or a folder.
        system: what a chat model is told before the question; a model without a chat template reads it before it.
        max_prompt: tokens; of longer prompts the beginning is lost.
        bf16: forward passes on a GPU are in bfloat16. The weights are float32 anyhow: in bfloat16 they would not feel
            steps of a learning rate like 5e-6.
        lora: rank of adapters on all linear layers, which alone are trained; None: all weights are.
    """

    def __init__(self, name: str, system: str | None, max_prompt: int, bf16: bool, lora: int | None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
        ends = model.generation_config.eos_token_id
        ends = self._tokenizer.eos_token_id if ends is None else ends
        self._ends = set(ends) if isinstance(ends, list) else {ends}
        self.pad: int = min(self._ends) if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id
        if lora is not None:
            model = _with_adapters(model, lora)
        self.model: Any = model.to(self.device).eval()
        self._system, self._max_prompt = system, max_prompt
        self._bf16 = bf16 and self.device.type == "cuda"

    def prompt(self, question: Question) -> Tokens:
        """The chat template around system prompt and question."""
        told = [{"role": "system", "content": self._system}] if self._system else []
        if self._tokenizer.chat_template is None:
            text = "\n".join([message["content"] for message in told] + [question.text, ""])
        else:
            chat = [*told, {"role": "user", "content": question.text}]
            text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        tokens: Tokens = self._tokenizer(text, add_special_tokens=self._tokenizer.chat_template is None)["input_ids"]
        return tokens[-self._max_prompt :]

    def text(self, completion: Tokens) -> str:
        """What was written, without special tokens."""
        return str(self._tokenizer.decode(completion, skip_special_tokens=True))

    def finished(self, completion: Tokens) -> bool:
        """Whether it ends with one of the model's end tokens."""
        return completion[-1] in self._ends

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """From the whole distribution: no top-k, top-p or penalties that the probabilities learned would not know."""
        tokens, mask = padded(prompts, self.pad, left=True)
        # Of the model's own generation settings nothing is left: whatever is not given here would be taken from there.
        self.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=temperature > 0, temperature=temperature or None, top_k=0 if temperature else None,
            num_return_sequences=copies, max_new_tokens=limit, pad_token_id=self.pad, eos_token_id=sorted(self._ends),
        )  # fmt: skip
        with self._precision():
            written = self.model.generate(input_ids=tokens.to(self.device), attention_mask=mask.long().to(self.device))
        return [cut(row, self._ends) for row in written[:, tokens.shape[1] :].tolist()]

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """The head is applied to the last `keep` tokens alone, which is what makes a vocabulary of 150,000 bearable."""
        places = (mask.long().cumsum(1) - 1).clamp(min=0)
        with self._precision():
            answer = model(
                input_ids=tokens, attention_mask=mask.long(), position_ids=places, logits_to_keep=keep, use_cache=False
            )
        logits: Tensor = answer.logits
        return logits

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bf16)


def _with_adapters(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, adapters)
