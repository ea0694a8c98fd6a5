"""verl's data set class with planned prompts: its own config, data set, collation and reward workers."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from datasets import Dataset
from memr_client import InvalidRequest, RewardClient
from support.serving import serving
from torch.utils.data import DataLoader, RandomSampler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings of verl and Ray at import
    from memr_client.verl.planned import PlannedDataset
    from support.verl_loop import MANAGER, Actor, Rollouts, agent_loop, configure, save_tokenizer, score
    from verl.trainer.ppo.checkpoint_callback import build_checkpoint_callback
    from verl.trainer.ppo.utils import create_rl_dataset
    from verl.utils.dataset.rl_dataset import collate_fn

# verl names each engine that is not installed.
pytestmark = pytest.mark.filterwarnings("ignore:.* is not available:UserWarning")

ROWS, BATCH, SIZE = 24, 3, 4
ROLLOUTS = Rollouts(ROWS, SIZE)
PLANNED = (
    "data.custom_cls.path=pkg://memr_client.verl.planned",
    "data.custom_cls.name=PlannedDataset",
    "data.dataloader_num_workers=0",
    "+data.memr=${reward.reward_kwargs.memr}",
    "+reward.reward_kwargs.memr.group_size=${actor_rollout_ref.rollout.n}",
)
SAVED = "trainer.checkpoint_callback_class=memr_client.verl.checkpoint.MemoryCheckpoint"


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def tokenizer(folder):
    return save_tokenizer(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The policy's tokenizer and the files of the data set."""
    folder = tmp_path_factory.mktemp("verl")
    for split in ("train", "test"):
        rows = [ROLLOUTS.prompt(number) for number in range(ROWS)]
        columns = [
            {
                "prompt": row["raw_prompt"],
                "data_source": row["data_source"],
                "reward_model": row["reward_model"],
                "extra_info": {**row["extra_info"], "split": split},
            }
            for row in rows
        ]
        Dataset.from_list(columns).to_parquet(folder / f"{split}.parquet")
    return folder


@pytest.fixture
def configured(server, folder, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def config(run, *more):
        return configure(
            folder,
            *MANAGER,
            *PLANNED,
            SAVED,
            f"+reward.reward_kwargs.memr.url={server}",
            f"+reward.reward_kwargs.memr.run={run}",
            f"actor_rollout_ref.rollout.n={SIZE}",
            f"data.train_files={folder}/train.parquet",
            f"data.val_files=[{folder}/test.parquet]",
            f"data.train_batch_size={BATCH}",
            f"trainer.default_local_dir={tmp_path}/{run}",
            *more,
        )

    return config


def prompts_of(config, tokenizer):
    return create_rl_dataset(config.data.train_files, config.data, tokenizer, None, is_train=True)


def loader(data, size=BATCH):
    """As verl's trainers make theirs, but that torchdata's loader, which also saves, is not needed here."""
    return iter(
        DataLoader(data, size, sampler=RandomSampler(data), drop_last=True, num_workers=0, collate_fn=collate_fn)
    )


def train(config, tokenizer, data, steps, folder):
    """Some steps of sampling and scoring, each saved as verl does; the numbers of the sampled questions."""
    callback, batches, sampled = build_checkpoint_callback(config), loader(data), []
    actor = Actor(config)
    worker = agent_loop([actor])

    async def step(number, batch):
        columns = ("raw_prompt", "data_source", "reward_model", "extra_info", "index")
        rows = [{name: batch[name][place] for name in columns} for place in range(BATCH)]
        await asyncio.gather(
            *(
                score(
                    worker,
                    tokenizer,
                    {**row, "uid": f"{number}-{row['index']}", "global_steps": number},
                    ROLLOUTS.completion(row["index"], (place + number) % 7),
                    place,
                )
                for row in rows
                for place in range(SIZE)
            )
        )
        return [int(row["index"]) for row in rows]

    try:
        for number in steps:
            sampled.append(asyncio.run(step(number, next(batches))))
            (folder / f"global_step_{number}").mkdir(parents=True, exist_ok=True)
            (folder / "latest_checkpointed_iteration.txt").write_text(str(number))
            callback.on_save(trainer=None, global_step=number, checkpoint_dir="", async_save=False)
    finally:
        actor.close()
    return sampled


def test_verl_gets_the_planned_prompts_and_after_a_resume_those_of_an_uninterrupted_training(
    configured, tokenizer, tmp_path, server
):
    whole = configured("whole")
    sampled = train(whole, tokenizer, prompts_of(whole, tokenizer), range(1, 7), tmp_path / "whole")
    assert all(len(set(step)) == BATCH for step in sampled)
    with RewardClient(server, run="whole") as client:
        assert (client.pool().prompts, client.pool().visited) == (ROWS, len({one for step in sampled for one in step}))
        for step, chosen in enumerate(sampled):
            plan = client.plan(None, BATCH, SIZE, position=1 + BATCH * step)
            assert [int(pick.prompt_id) for pick in plan.picks] == chosen
        cut = configured("cut")
        data = prompts_of(cut, tokenizer)
        assert train(cut, tokenizer, data, range(1, 4), tmp_path / "cut") == sampled[:3]
        kept = data.state_dict()
        client.reward(["lost"], ["with the process"], [1.0], run_id="cut", group_ids=["lost"], mode="eval")
        resumed = prompts_of(cut, tokenizer)
        resumed.load_state_dict(kept)
        assert train(cut, tokenizer, resumed, range(4, 7), tmp_path / "cut") == sampled[3:]
        assert client.run("cut").branch == client.run("whole").branch + 1


def test_prompts_fetched_one_by_one_are_planned_together_and_in_flight_ones_left_out(configured, tokenizer, server):
    config = configured("single", "+data.gen_batch_size=1")
    data = prompts_of(config, tokenizer)
    one_by_one = loader(data, size=1)
    sampled = [int(next(one_by_one)["index"][0]) for _ in range(2 * BATCH)]
    assert len(set(sampled)) == len(sampled)
    again = prompts_of(config, tokenizer)
    again.load_state_dict(data.state_dict())
    ahead = [int(next(one_by_one)["index"][0]) for _ in range(2)]
    one_by_one = loader(again, size=1)
    assert [int(next(one_by_one)["index"][0]) for _ in range(2)] == ahead


def test_validation_gets_its_files_as_they_are(configured, tokenizer):
    config = configured("validated")
    data = create_rl_dataset(config.data.val_files, config.data, tokenizer, None, is_train=False)
    assert isinstance(data, PlannedDataset)
    batch = next(iter(DataLoader(data, ROWS, collate_fn=collate_fn)))
    assert [*batch["index"]] == [*range(ROWS)]
    assert data.state_dict() == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("data.dataloader_num_workers=2", "each worker of a data loader would plan the same prompts"),
        ("data.val_files=${data.train_files}", "cannot tell validation from training"),
        ("reward.reward_kwargs.memr.group_size=null", "does not know their size"),
        ("data.memr={}", "memr needs the option url"),
    ],
)
def test_what_cannot_be_planned_is_refused_at_the_start(configured, tokenizer, more, said):
    with pytest.raises(InvalidRequest, match=said):
        prompts_of(configured("refused", more), tokenizer)
