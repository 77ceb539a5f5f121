"""Token states are the model's at any layer, for any batch and padding; windows cover a long text."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.llm.embeddings import StatesConfig, TextStates
from retrieval_gap.llm.embeddings.reader import PaddingSide, StateReader
from retrieval_gap.llm.embeddings.windows import windows
from retrieval_gap.machine.errors import UsageError
from tests.llm.embeddings.tiny import KINDS, LAYERS, POSITIONS, WIDTH, save

TEXTS = ["Answer each question.", "So the answer is: Town 7.", "Club 3 plays chess", "Where?\n  Person 3  was  born"]
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def _read(folder: Path, texts: list[str], *, batch_size: int = 1, side: PaddingSide = "right", **more: object):
    config = StatesConfig(**{"model": str(folder), "precision": "fp32"} | more)  # type: ignore[arg-type]
    return StateReader(config, batch_size=batch_size, padding_side=side).read(texts)


def _same(one: list[TextStates], other: list[TextStates]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.states_LxD, b.states_LxD, **CLOSE)
        assert a.word_L.tolist() == b.word_L.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_states_do_not_depend_on_batch_or_padding_side(folders: dict[str, Path], kind: str, half: str) -> None:
    alone = _read(folders[kind], TEXTS, half=half)
    assert {each.states_LxD.shape[1] for each in alone} == {WIDTH}
    for side in ("right", "left"):
        for batch_size in (2, 4):
            _same(alone, _read(folders[kind], TEXTS, batch_size=batch_size, side=side, half=half))


@pytest.mark.parametrize(("kind", "half"), [*((kind, "encoder") for kind in KINDS), ("t5", "decoder")])
def test_states_are_those_of_the_model_itself(folders: dict[str, Path], kind: str, half: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folders[kind]), AutoModel.from_pretrained(folders[kind]).eval()
    ids_1xL = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    asked = {"input_ids": ids_1xL}
    if kind == "t5":
        start = torch.full_like(ids_1xL[:, :1], model.config.decoder_start_token_id)
        asked["decoder_input_ids"] = torch.cat([start, ids_1xL[:, :-1]], 1)
    with torch.no_grad():
        told = model(**asked, output_hidden_states=True)
    layers = told.hidden_states if kind != "t5" else getattr(told, f"{half}_hidden_states")
    for layer in range(LAYERS + 1):
        ours = _read(folders[kind], TEXTS[:1], layer=layer, half=half)[0]
        torch.testing.assert_close(ours.states_LxD, layers[layer][0], **CLOSE)


def test_the_halves_of_an_encoder_decoder_differ_and_its_decoder_reads_its_encoder(folders: dict[str, Path]) -> None:
    first, other = "Club 3 plays chess", "Club 3 plays the"  # shifted by one, the decoder's inputs are equal
    encoder, decoder = (_read(folders["t5"], [first, other], half=half) for half in ("encoder", "decoder"))
    assert not torch.allclose(encoder[0].states_LxD, decoder[0].states_LxD, **CLOSE)
    assert not torch.allclose(decoder[0].states_LxD[1], decoder[1].states_LxD[1], **CLOSE)


def test_words_are_separated_by_white_space(folders: dict[str, Path]) -> None:
    for text, each in zip(TEXTS, _read(folders["llama"], TEXTS), strict=True):
        assert sorted(set(each.word_L.tolist())) == list(range(len(text.split())))


def test_a_second_copy_lets_a_decoder_see_later_words(folders: dict[str, Path]) -> None:
    first, other = "Club 3 plays chess", "Club 3 plays the"
    once, twice = (_read(folders["llama"], [first, other], copies=copies) for copies in (1, 2))
    assert [len(each.word_L) for each in once] == [len(each.word_L) for each in twice]
    torch.testing.assert_close(once[0].states_LxD[0], once[1].states_LxD[0], **CLOSE)
    assert not torch.allclose(twice[0].states_LxD[0], twice[1].states_LxD[0], **CLOSE)


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "data2vec_text", "llama"])
def test_a_long_text_is_read_in_windows_and_counted(folders: dict[str, Path], kind: str) -> None:
    text = " ".join(f"Town {number}" for number in range(POSITIONS))
    reader = StateReader(StatesConfig(model=str(folders[kind]), precision="fp32"))
    (read,) = reader.read([text])
    assert reader.windowed == 1
    assert len(read.word_L) > POSITIONS
    assert set(read.word_L.tolist()) == set(range(2 * POSITIONS))
    head = reader.read([text[:40]])[0]
    assert torch.isfinite(read.states_LxD).all()
    assert head.states_LxD.shape[1] == read.states_LxD.shape[1]


@pytest.mark.parametrize("kind", ["t5", "mamba"])
def test_a_model_without_a_table_of_positions_reads_a_long_text_at_once(folders: dict[str, Path], kind: str) -> None:
    reader = StateReader(StatesConfig(model=str(folders[kind]), precision="fp32"))
    (read,) = reader.read([" ".join(f"Town {number}" for number in range(POSITIONS))])
    assert (reader.limit, reader.windowed) == (0, 0)
    assert len(read.word_L) > POSITIONS


@given(st.integers(1, 300), st.integers(1, 80))
def test_windows_keep_every_token_once_and_fit_their_room(length: int, room: int) -> None:
    found = windows(length, room)
    assert [place for each in found for place in range(each.first, each.last)] == list(range(length))
    assert all(each.stop - each.start <= room and each.start <= each.first <= each.last <= each.stop for each in found)


@pytest.mark.parametrize(
    ("texts", "more", "said"),
    [
        ([" \n"], {}, "is empty"),
        (["a"], {"layer": 7}, "layer 7 of .*: there are 0 to 2"),
        (["a"], {"window": 1, "copies": 2}, "has no room for a text"),
    ],
)
def test_unreadable_texts_and_settings_are_refused(
    folders: dict[str, Path], texts: list[str], more: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        _read(folders["bert"], texts, **more)


def test_a_text_without_a_known_token_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = save("bert", tmp_path)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "one": 2, "two": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)
    assert len(_read(folder, ["one nine"])) == 1
    with pytest.raises(UsageError, match=r"'nine ten' has no token that the tokenizer of .* knows"):
        _read(folder, ["nine ten"])
