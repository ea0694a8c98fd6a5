#!/usr/bin/env bash
# GRPO with an episodic memory in verl (0.9.1): GSM8K with the Memory-R+ paper's hyper-parameters, on one GPU.
#
#   memr serve &
#   python examples/verl_reward.py gsm8k               # once: writes the data set in verl's format
#   bash examples/verl_grpo.sh                         # further arguments are passed on to verl
#   bash examples/verl_grpo.sh --tiny                  # on a laptop's CPU, in half a minute
#
# --tiny scores generated sums with verl's reward workers, step by step, so that you can watch the memory. It trains
# nothing, because verl samples with vLLM or SGLang, which need a GPU.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}

# All settings that memr needs. As without memr, the outcome comes from reward.custom_reward_function or from verl's
# default. The last line checkpoints the memory with verl's checkpoints.
memory=(
    reward.reward_manager.source=importlib
    reward.reward_manager.name=MemoryRewardManager
    reward.reward_manager.module.path=pkg://memr_client.verl.manager
    +reward.reward_kwargs.memr.url="${MEMR_URL:-http://127.0.0.1:8000}"
    +reward.reward_kwargs.memr.run="${MEMR_RUN:-verl-grpo}"
    trainer.checkpoint_callback_class=memr_client.verl.checkpoint.MemoryCheckpoint
)

if [[ "${1-}" == --tiny ]]; then
    exec "$python" "$here/verl_tiny.py" "${memory[@]}" "${@:2}"
fi

# The paper's memory: K = 1, room for all prompts of GSM8K, and only the reasoning of a completion is encoded.
memory+=(
    '+reward.reward_kwargs.memr.config={preset: "memory-r+", k: 1, max_prompts: 7473, reasoning_tags: ["<reasoning>", "</reasoning>"]}'
)

training=(
    reward.custom_reward_function.path="$here/verl_reward.py"
    reward.custom_reward_function.name=score
    data.train_files="${DATA:-gsm8k}/train.parquet"
    data.val_files="${DATA:-gsm8k}/test.parquet"
    data.train_batch_size=1
    data.max_prompt_length=256
    data.max_response_length=200
    algorithm.adv_estimator=grpo
    actor_rollout_ref.model.path="${MODEL:-Qwen/Qwen2.5-0.5B-Instruct}"
    actor_rollout_ref.actor.ppo_mini_batch_size=1
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16
    actor_rollout_ref.actor.grad_clip=0.1
    actor_rollout_ref.actor.optim.lr=5e-6
    'actor_rollout_ref.actor.optim.betas=[0.9, 0.99]'
    actor_rollout_ref.actor.optim.weight_decay=0.1
    actor_rollout_ref.actor.optim.clip_grad=0.1
    actor_rollout_ref.actor.optim.lr_warmup_steps_ratio=0.1
    actor_rollout_ref.actor.optim.lr_scheduler_type=cosine
    actor_rollout_ref.rollout.name=vllm
    actor_rollout_ref.rollout.n=16
    actor_rollout_ref.rollout.gpu_memory_utilization=0.5
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16
    trainer.total_epochs=1
    trainer.n_gpus_per_node=1
    trainer.nnodes=1
    trainer.save_freq=100
    trainer.test_freq=100
    trainer.project_name=memr
    trainer.experiment_name=verl-grpo
    'trainer.logger=[console]'
)

exec "$python" -m verl.trainer.main_ppo "${memory[@]}" "${training[@]}" "$@"
