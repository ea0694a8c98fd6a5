#!/usr/bin/env bash
# GRPO with an episodic memory in OpenRLHF: GSM8K with the Memory-R+ paper's hyper-parameters, on one GPU.
#
#   memr serve &
#   examples/openrlhf_grpo.sh                  # further arguments are passed on to OpenRLHF
#   examples/openrlhf_grpo.sh --tiny           # on a laptop's CPU, in under a minute; see openrlhf_tiny.py
#
# MEMR_URL and MEMR_RUN name the service and the run. Needs openrlhf 0.11 with its vLLM and Ray. On several machines,
# start this with `ray job submit` and set MEMR_URL, MEMR_RUN and, if needed, MEMR_API_KEY for Ray's workers in
# --runtime-env-json.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ "${1:-}" == --tiny ]]; then
    shift
    port=${MEMR_PORT:-8077}
    memr serve --port "$port" --store memory: --encoder hashed 2>/dev/null &
    trap 'kill $!' EXIT
    python "$here/openrlhf_tiny.py" --url "http://127.0.0.1:$port" "$@"
    exit
fi

export MEMR_URL=${MEMR_URL:-http://127.0.0.1:8000} MEMR_RUN=${MEMR_RUN:-openrlhf-grpo}

# Create the run. A waiting local reward file blocks one of few threads, so its barrier is snapshot, which never waits.
# There no group is known as a whole: with group_norm, as in the paper, the memory decides groups of equal outcomes alone.
curl --fail-with-body -sS -X PUT "$MEMR_URL/runs/$MEMR_RUN" -H 'Content-Type: application/json' \
    ${MEMR_API_KEY:+-H "Authorization: Bearer $MEMR_API_KEY"} --data-binary @- <<'JSON'
{
    "preset": "memory-r+", "k": 1, "max_prompts": 7473, "verifier": "numeric", "memory_weight": 1.0,
    "barrier": "snapshot", "group_size": 16, "barrier_timeout_s": 600,
    "reasoning_tags": ["<reasoning>", "</reasoning>"],
    "prompt_pattern": "<\\|im_start\\|>user\\n(.*?)<\\|im_end\\|>"
}
JSON

template='<|im_start|>system
Respond in the following format:
<reasoning>
...
</reasoning>
<answer>
...
</answer><|im_end|>
<|im_start|>user
{}<|im_end|>
<|im_start|>assistant
'

# A step has 16 prompts (the paper: 2, accumulated 8 times) with 16 completions each, of up to 256 + 200 tokens.
python3 -m openrlhf.cli.train_ppo_ray \
    --actor.model_name_or_path Qwen/Qwen2.5-0.5B-Instruct \
    --data.prompt_dataset openai/gsm8k@main \
    --data.input_key question \
    --data.label_key answer \
    --data.input_template "$template" \
    --data.max_len 456 \
    --reward.remote_url "$here/openrlhf_reward.py" \
    --algo.advantage.estimator group_norm \
    --algo.kl.init_coef 0 \
    --rollout.n_samples_per_prompt 16 \
    --rollout.batch_size 16 \
    --rollout.micro_batch_size 16 \
    --rollout.max_new_tokens 200 \
    --train.batch_size 256 \
    --train.micro_batch_size 16 \
    --train.num_episodes 1 \
    --train.max_epochs 1 \
    --actor.adam.lr 5e-6 \
    --actor.adam.betas 0.9 0.99 \
    --actor.adam.weight_decay 0.1 \
    --actor.lr_scheduler cosine \
    --actor.lr_warmup_ratio 0.1 \
    --actor.max_norm 0.1 \
    --actor.num_nodes 1 \
    --actor.num_gpus_per_node 1 \
    --vllm.num_engines 1 \
    --vllm.gpu_memory_utilization 0.5 \
    --vllm.enable_sleep \
    --train.colocate_all \
    --ds.enable_sleep \
    --ds.param_dtype bf16 \
    --ds.zero_stage 2 \
    --ckpt.output_dir openrlhf-grpo \
    --ckpt.save_steps 100 \
    "$@"
