"""The data set and the reward function of verl_grpo.sh: GSM8K in the format of the Memory-R+ paper.

python examples/verl_reward.py gsm8k        # once: writes gsm8k/train.parquet and gsm8k/test.parquet
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

SYSTEM = "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
TAGS = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")
STRICT = re.compile(r"<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n?", re.DOTALL)
SOFT = re.compile(r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)


def score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> dict[str, float]:
    """verl's reward function. The memory uses `acc`, 1 for a right answer; `score` also rewards the format."""
    answer = solution_str.rpartition("<answer>")[2].partition("</answer>")[0].strip().replace(",", "")
    right = float(answer == ground_truth)
    form = 0.5 * answer.isdigit() + 0.5 * bool(STRICT.fullmatch(solution_str)) + 0.5 * bool(SOFT.match(solution_str))
    return {"score": right + form + 0.125 * sum(solution_str.count(tag) == 1 for tag in TAGS), "acc": right}


def row(question: str, solution: str, split: str, index: int) -> dict[str, Any]:
    """A row of verl's data set. `split` marks evaluation, which the memory does not remember."""
    return {
        "data_source": "gsm8k",
        "prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
        "reward_model": {"style": "rule", "ground_truth": solution.rpartition("####")[2].strip().replace(",", "")},
        "extra_info": {"split": split, "index": index, "question": question},
    }


def main() -> None:
    from datasets import Dataset, load_dataset

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--data", default="openai/gsm8k", help="a data set on the hub, or a folder of JSON lines")
    options = parser.parse_args()
    for split in ("train", "test"):
        file = Path(options.data) / f"{split}.jsonl"
        source = ("json", None, {"train": str(file)}) if file.exists() else (options.data, "main", None)
        read = load_dataset(source[0], source[1], data_files=source[2], split="train" if file.exists() else split)
        rows = [row(one["question"], one["answer"], split, index) for index, one in enumerate(read)]
        options.folder.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows).to_parquet(options.folder / f"{split}.parquet")


if __name__ == "__main__":
    main()
