"""Vectors against those of transformers' own BertModel, computed text by text as sentence-transformers says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from inference.embed.embedder import Embedder
from inference.embed.folder import read_folder
from inference.embed.packaged import packaged_model
from inference.errors import ModelNotFound, UnsupportedModel

HARD = [
    "the quick brown fox",
    "",
    "   \n\t ",
    "a" * 10_000,
    "the lazy dog " * 2_000,
    "🦊" * 30 + " 🙂‍↔️ é e\u0301 ﬁ Ⅷ",
    "שלום עולם \u202e مرحبا بالعالم",
    "x\x00y\x01z\x7f",
    "half \ud83d of one, and \udd8a the other",
    "中文没有空格 한국어 ไทย",
    "Foxes JUMPED over [CLS] [SEP] [MASK] [PAD]",
]


def reference(folder, texts, pooling="mean"):
    """``[n, size]``: one text at a time, so that nothing is padded."""
    model, tokenizer = BertModel.from_pretrained(folder).eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(read_folder(folder).longest)
    vectors = []
    for text in texts:
        spelled = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        with torch.no_grad():
            states = model(torch.tensor([tokenizer.encode(spelled).ids])).last_hidden_state[0]
        pooled = {"mean": states.mean(0), "cls": states[0], "max": states.max(0).values}[pooling]
        vectors.append(torch.nn.functional.normalize(pooled, dim=0).numpy())
    return np.stack(vectors)


def embed(folder, texts):
    embedder = Embedder(read_folder(folder), "cpu")
    return embedder.embed([text.token_ids for text in embedder.encode(texts)])


def assert_equal(found, wanted):
    assert (found.shape, found.dtype) == (wanted.shape, np.float32)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    assert (1 - (found * wanted).sum(1)).max() < 1e-5
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_hard_texts_have_the_vectors_of_the_reference(make_folder, pooling):
    folder = make_folder(pooling)
    assert_equal(embed(folder, HARD), reference(folder, HARD, pooling))


def test_a_text_has_one_vector_whatever_it_is_embedded_beside(make_folder):
    folder = make_folder()
    together = embed(folder, HARD * 3)
    assert np.abs(together - np.concatenate([embed(folder, [text]) for text in HARD * 3])).max() < 1e-5


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu"])
def test_other_activations(make_folder, activation):
    folder = make_folder(hidden_act=activation, layer_norm_eps=1e-5)
    assert_equal(embed(folder, HARD), reference(folder, HARD))


def test_weights_of_a_whole_pretraining_model_in_half_precision(make_folder):
    """Their names begin with ``bert.``, and the numbers are bfloat16."""
    from safetensors.torch import load_file, save_file

    folder = make_folder()
    weights = load_file(folder / "model.safetensors")
    save_file({f"bert.{name}": tensor.bfloat16() for name, tensor in weights.items()}, folder / "model.safetensors")
    found = embed(folder, HARD[:3])
    save_file({name: tensor.bfloat16().float() for name, tensor in weights.items()}, folder / "model.safetensors")
    assert_equal(found, reference(folder, HARD[:3]))


def test_no_text_has_no_vector(make_folder):
    assert embed(make_folder(), []).shape == (0, 32)


def test_a_prompt_and_small_letters_come_first_where_the_folder_says_so(make_folder):
    prompts = {"prompts": {"query": "The Fox "}, "default_prompt_name": "query"}
    folder = make_folder(prompts=prompts, lengths={"max_seq_length": 40, "do_lower_case": True})
    assert_equal(embed(folder, ["jump ABC"]), reference(folder, ["the fox jump abc"]))


def test_a_text_is_cut_where_the_model_ends_and_that_is_told(make_folder):
    embedder = Embedder(read_folder(make_folder()), "cpu")
    short, long = embedder.encode(["a " * 38, "a " * 39])
    assert [(len(text.token_ids), text.is_cut) for text in (short, long)] == [(40, False), (40, True)]


@pytest.mark.parametrize(
    ("lengths", "longest"), [({"max_seq_length": 40}, 40), ({"max_seq_length": 512}, 48), ({}, 48)]
)
def test_the_longest_text_is_what_the_folder_says_and_the_model_has_places_for(make_folder, lengths, longest):
    assert read_folder(make_folder(lengths=lengths)).longest == longest


def test_the_newer_way_to_name_the_pooling(make_folder):
    assert read_folder(make_folder("max", legacy=False)).pooling == "max"


def rewrite(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("config.json", {"model_type": "mpnet"}, "mpnet"),
        ("config.json", {"position_embedding_type": "relative_key"}, "BERT"),
        ("config.json", {"hidden_act": "mish"}, "mish"),
        ("config.json", {"is_decoder": True}, "BERT"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "mean"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}, "lasttoken"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "pooling"),
        ("1_Pooling/config.json", {"include_prompt": False}, "prompt"),
    ],
)
def test_what_would_come_out_otherwise_is_refused(make_folder, name, changes, said):
    folder = make_folder()
    rewrite(folder, name, **changes)
    with pytest.raises(UnsupportedModel, match=said):
        read_folder(folder)


def test_a_module_that_is_not_known_is_refused(make_folder):
    folder = make_folder(modules=[("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")])
    with pytest.raises(UnsupportedModel, match="Dense"):
        read_folder(folder)


def test_a_folder_without_a_model_and_broken_files_are_refused(make_folder, tmp_path):
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        read_folder(tmp_path)
    folder = make_folder()
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UnsupportedModel, match=r"model\.safetensors"):
        Embedder(read_folder(folder), "cpu")
    (folder / "modules.json").write_text("{")
    with pytest.raises(UnsupportedModel, match=r"modules\.json"):
        read_folder(folder)


def test_weights_that_lack_a_tensor_are_refused(make_folder):
    from safetensors.torch import load_file, save_file

    folder = make_folder()
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        Embedder(read_folder(folder), "cpu")


def test_the_packaged_model_has_the_vectors_of_the_reference():
    folder = packaged_model()
    assert folder is not None, "make installs it"
    assert_equal(embed(folder, HARD), reference(folder, HARD))
    near, far = (
        embed(folder, ["How do I reset my password?", "I forgot my login", "Bananas are yellow"])[1:]
        @ embed(folder, ["How do I reset my password?"])[0]
    )
    assert near > far + 0.3
