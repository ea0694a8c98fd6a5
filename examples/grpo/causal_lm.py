"""Any causal language model of Hugging Face as the policy, whole or with LoRA adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from examples.grpo import decoder
from examples.grpo.decoding import decode
from examples.grpo.packing import Packed, pack
from examples.grpo.policy import Tokens, cut, padded
from examples.grpo.tasks.task import Question


class CausalLM:
    """A pretrained model on the GPU, or on the CPU if there is none.

    Args:
        name: the model's name on the hub, or a folder.
        system: the system prompt; None: there is none. Without a chat template it is put before the question.
        max_prompt: most tokens of a prompt. Longer prompts lose their beginning.
        bf16: run forward passes in bfloat16, on a GPU or on a CPU that has it. Weights are always float32, because in
            bfloat16 they would not change by steps of a learning rate like 5e-6.
        lora: rank of LoRA adapters on all linear layers; only they are trained. None: all weights are trained.
    """

    def __init__(self, name: str, system: str | None, max_prompt: int, bf16: bool, lora: int | None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
        ends = model.generation_config.eos_token_id
        ends = self._tokenizer.eos_token_id if ends is None else ends
        self.ends = set(ends) if isinstance(ends, list) else {ends}
        self.pad: int = min(self.ends) if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id
        if lora is not None:
            model = _with_adapters(model, lora)
        self.model: Any = model.to(self.device).eval()
        self._system, self._max_prompt = system, max_prompt
        has_bf16 = self.device.type == "cuda" or _has_bf16()
        self.precision = torch.bfloat16 if bf16 and has_bf16 else torch.float32
        self._own = self.device.type == "cpu" and decoder.fits(model.config)
        """Whether it is sampled and trained with the sharing of prompts, which is for Llama and Qwen2 on a CPU."""

    def prompt(self, question: Question) -> Tokens:
        """Tokens of the system prompt and the question, in the chat template."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        if self._tokenizer.chat_template is None:
            text = "\n".join([message["content"] for message in system] + [question.text, ""])
        else:
            chat = [*system, {"role": "user", "content": question.text}]
            text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        tokens: Tokens = self._tokenizer(text, add_special_tokens=self._tokenizer.chat_template is None)["input_ids"]
        return tokens[-self._max_prompt :]

    def text(self, completion: Tokens) -> str:
        """The completion's text without special tokens."""
        return str(self._tokenizer.decode(completion, skip_special_tokens=True))

    def completion(self, text: str) -> Tokens:
        """The text's tokens, and the token that ends a turn."""
        return [*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._tokenizer.eos_token_id]

    def finished(self, completion: Tokens) -> bool:
        """Whether the completion ends with one of the model's end tokens."""
        return completion[-1] in self.ends

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """Sample from the whole distribution. The loss knows no top-k, top-p or penalties, so there are none."""
        if self._own:
            own = decoder.Decoder(self.model, self.precision)
            return decode(own, prompts, copies, limit, temperature, self.ends, self.pad)
        tokens, mask = padded(prompts, self.pad, left=True)
        # Replaces the model's own generation settings, which would apply wherever no argument is given.
        self.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=temperature > 0, temperature=temperature or None, top_k=0 if temperature else None,
            num_return_sequences=copies, max_new_tokens=limit, pad_token_id=self.pad, eos_token_id=sorted(self.ends),
        )  # fmt: skip
        with self._precision():
            written = self.model.generate(input_ids=tokens.to(self.device), attention_mask=mask.long().to(self.device))
        return [cut(row, self.ends) for row in written[:, tokens.shape[1] :].tolist()]

    def logits(self, model: nn.Module, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
        """Logits of the last `keep` tokens only, because those of all tokens would need too much memory."""
        packed = pack(tokens, mask, keep - 1) if self._own else None
        if packed is not None:
            return packed.unpack(self._logits(model, packed, packed.keep))
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        return self._logits(model, Packed(tokens, mask.long(), positions, 1, keep - 1), keep)

    def _logits(self, model: nn.Module, given: Packed, keep: int) -> Tensor:
        with self._precision():
            output = model(
                input_ids=given.tokens,
                attention_mask=given.visible,
                position_ids=given.positions,
                logits_to_keep=keep,
                use_cache=False,
            )
        logits: Tensor = output.logits
        return logits

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16)


def _has_bf16() -> bool:
    """Whether the processor computes in bfloat16; elsewhere it would be slower than float32."""
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)()  # newer than the oldest torch that is supported
    return bool(capabilities.get("avx512_bf16"))


def _with_adapters(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, adapters)
