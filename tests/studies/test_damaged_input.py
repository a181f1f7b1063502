"""Whatever a user, or somebody else, has put into a file, a directory or the environment: one sentence says it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from divcon import commands
from divcon.cli import main
from divcon.core import config as strict
from divcon.core import documents, jsonlines, packed
from divcon.core.errors import ConfigError, ModelError
from divcon.distill.data.examples import Example
from divcon.distill.recipes import SolverRecipe
from divcon.distill.training.trainer import train
from divcon.eval.config import load
from divcon.lm import Message, Model, Request, Sampling, Scripted, Store
from divcon.lm.api import clients
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.limits import Limits
from divcon.lm.api.spec import ApiSpec, key
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.footprint import footprint_of
from divcon.lm.local.model_dir import ModelDirectory
from divcon.lm.local.weights import load_tokenizer, model_directory
from divcon.serve.http import keys
from divcon.serve.http.keys import Caller
from divcon.studies import prompting
from divcon.studies.evaluate import evaluate
from divcon.studies.opening import open_study

BASE = model_directory("miniature/base")


def is_a_sentence(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) < 1000


# -- YAML and JSON ----------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{chr(ord(name) - 1)}'] * 9)}]\n" for name in "bcdefghij"
)
YAML = {
    "3,000 deep in brackets": "a: " + "[" * 3000 + "]" * 3000,
    "3,000 deep in braces": "{a: " * 3000,
    "3,000 deep in dashes": "- " * 3000 + "x",
    "aliases of aliases": LAUGHS,
    "merged aliases": LAUGHS.replace("[", "[{<<: [{k: v}]}, "),
    "an alias in its anchor": "a: &a [*a]",
    "a key twice": "seed: 1\nseed: 2",
    "a list as key": "? [1, 2]\n: 3",
    "a date that is none": "a: 2001-99-99",
    "a number of 5,000 digits": "a: " + "9" * 5000,
    "a number of 9,000 hexadecimal digits": "a: 0x" + "f" * 9000,
    "a number in base sixty": "a: 1" + ":59" * 4000,
    "half a character": 'a: "\\ud800"',
    "an object": "a: !!python/object/apply:os.system [true]",
    "a time that is none": "a: !!timestamp x",
    "a truth that is none": "a: !!bool x",
    "bytes that are none": "a: !!binary x",
    "a NUL": "a: \0",
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML.keys())
def test_yaml_that_is_hostile_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"study\.yaml") as raised:
        strict.read(tmp_path / "study.yaml")
    assert is_a_sentence(raised.value)
    with pytest.raises(ConfigError):
        strict.override({}, f"grid={text}")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_setting_is_a_number(value: str) -> None:
    for setting in ("grid.temperature", "llm.price.prompt", "max_usd"):
        with pytest.raises(ConfigError, match=setting.rpartition(".")[2]):
            load("miniature", ["llm.price={prompt: 1, completion: 1}", f"{setting}={value}"])


JSON = [
    b"",
    b"\xff\xfe",
    b"[1,",
    b"[" * 100_000,
    b"NaN",
    b"1e999",
    b'{"a": 1, "a": 2}',
    b'"\\ud800"',
    b"9" * 5000,
    b"-1" * 2,
]


@pytest.mark.parametrize("content", JSON)
def test_json_that_cannot_be_worked_with_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.json") as raised:
        documents.read(dict[str, Any], tmp_path / "a.json")
    assert is_a_sentence(raised.value)


def test_a_row_with_a_number_of_thousands_of_digits_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"answer": ' + "9" * 5000 + "}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.jsonl:1 .*thousands of digits"):
        list(jsonlines.objects(tmp_path / "a.jsonl"))


def test_a_packed_file_is_unpacked_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_ALWAYS", 10_000)
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b" " * 10_000_000))
    with pytest.raises(ConfigError, match="unpacks to more than"):
        packed.contents(tmp_path / "bomb.jsonl.gz")
    (tmp_path / "text.jsonl.gz").write_bytes(gzip.compress(b" " * 10_000))
    assert len(packed.contents(tmp_path / "text.jsonl.gz")) == 10_000


# -- model directories ------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    shutil.copytree(BASE, tmp_path / "model")
    return tmp_path / "model"


def change(path: Path, **values: Any) -> None:
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(held | values), encoding="utf-8")


def ask(directory: Path, text: str = "How many?", adapter: Path | None = None) -> object:
    with Store() as store:
        engine = Transformers(str(directory), dtype="float32", device="cpu")
        return Model("m", engine, store, adapter=adapter)([Request((Message("user", text),), Sampling(max_tokens=2))])


CONFIGS = ["[]", "null", "3", '"x"', "{", "[" * 5000, '{"model_type": "unheard-of"}', '{"model_type": []}']


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_that_is_none_is_one_sentence(model: Path, config: str) -> None:
    (model / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ConfigError, match="model") as raised:
        ask(model)
    assert is_a_sentence(raised.value)


PACKED: list[dict[str, Any]] = [
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "gptq", "bits": 4},
    {"quant_method": "awq", "bits": 4},
]


@pytest.mark.parametrize("how", PACKED)
def test_a_packed_model_without_its_library_is_one_sentence(model: Path, how: dict[str, Any]) -> None:
    change(model / "config.json", quantization_config=how)
    with pytest.raises(ConfigError, match="cannot load the model") as raised:
        ask(model)
    assert is_a_sentence(raised.value)


TEMPLATES = [
    "{% for m in messages %}",
    "{{ messages.nothing.at.all }}",
    "{{ 1 / 0 }}",
    "{{ range(10**9) | list }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ raise_exception('no') }}",
    "{% include 'x' %}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_broken_chat_template_is_one_sentence(model: Path, template: str) -> None:
    for file in model.glob("*.jinja"):
        file.write_text(template, encoding="utf-8")
    change(model / "tokenizer_config.json", chat_template=template)
    with pytest.raises(ConfigError, match=r"the chat template of .* cannot be used") as raised:
        load_tokenizer(model)
    assert is_a_sentence(raised.value)


def without_end(model: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        if (model / name).is_file():
            change(model / name, eos_token_id=None)
    held = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    for name in ("eos_token", "chat_template"):
        held.pop(name, None)
    (model / "tokenizer_config.json").write_text(json.dumps(held), encoding="utf-8")
    for file in [*model.glob("*.jinja"), *model.glob("special_tokens_map.json")]:
        file.unlink()


def learn(model: Path, text: str = "How many?") -> object:
    recipe = SolverRecipe(epochs=1.0, batch_size=1)
    out = model.parent / "out"
    return train([Example((Message("user", text),), "7")], model, out, recipe, seed=0, scratch=model.parent / "scratch")


@pytest.mark.parametrize("use", [ask, learn])
def test_a_tokenizer_without_an_end_is_one_sentence(model: Path, use: Callable[[Path], object]) -> None:
    without_end(model)
    with pytest.raises(ConfigError, match="has no token that ends a text; name it as eos_token"):
        use(model)


def test_a_models_own_end_serves_a_tokenizer_that_names_none(model: Path) -> None:
    end = ModelDirectory(str(model)).stop_tokens[0]
    without_end(model)
    change(model / "config.json", eos_token_id=[end])
    change(model / "generation_config.json", eos_token_id=[end])
    assert ModelDirectory(str(model)).tokenizer.eos_token_id == end


@pytest.mark.parametrize("use", [ask, learn])
def test_a_tokenizer_with_more_tokens_than_the_model_is_one_sentence(
    model: Path, use: Callable[[Path, str], object]
) -> None:
    tokenizer = load_tokenizer(model)
    tokenizer.add_tokens([f"<more{i}>" for i in range(2000)])
    tokenizer.save_pretrained(model)
    use(model, "plain words")
    with pytest.raises(ConfigError, match=r"it writes the token '<more1999>' as .* and the model's embedding has"):
        use(model, "one <more1999> of them")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file({"x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


ADAPTERS = ["[]", "{", "{}", '{"peft_type": "UNHEARD"}', '{"peft_type": []}', '{"peft_type": "LORA", "r": "x"}']
ADAPTERS += ['{"peft_type": "LORA", "target_modules": 7}', '{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}']


@pytest.mark.parametrize("config", ADAPTERS)
def test_an_adapter_of_another_kind_is_one_sentence(adapter: Path, config: str) -> None:
    (adapter / "adapter_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ConfigError, match="adapter") as raised:
        ask(BASE, adapter=adapter)
    assert is_a_sentence(raised.value)


@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b'{"a": {"shape": ["x"]}}', b"[" * 5000, b"\xff"])
def test_weights_with_a_hostile_header_are_one_sentence(model: Path, header: bytes) -> None:
    for file in model.glob("*.safetensors"):
        file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConfigError, match="is not a whole safetensors file"):
        footprint_of(model)


# -- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["sk-abcdef\n", " sk-abcdef ", "\tsk-abcdef\r\n"])
def test_blanks_around_a_key_are_none_of_it(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("A_KEY", said)
    assert key("A_KEY") == "sk-abcdef"


@pytest.mark.parametrize("said", ["“sk-abcdef”", "sk-abc def", "sk-abc\ndef", "sk-ключ", "sk-abc\x7f", "sk-abc\ufeff"])
def test_a_key_that_no_header_can_hold_is_one_sentence_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("A_KEY", said)
    with (
        pytest.raises(ConfigError, match=r"the key in A_KEY holds .* \(at place \d+ of \d+\)") as raised,
        Store() as store,
    ):
        Model("m", OpenAIEngine(ApiSpec("m", base_url="http://127.0.0.1:9/v1", api_key_env="A_KEY")), store)([HELLO])
    assert "abc" not in str(raised.value) and "ключ" not in str(raised.value)


HELLO = Request((Message("user", "?"),), Sampling())


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1", "http://[::1", "http://a:b:c"])
def test_a_proxy_that_cannot_be_asked_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ConfigError, match=f"the proxy in {variable} cannot be used"), Store() as store:
        Model("m", OpenAIEngine(ApiSpec("m", base_url="http://127.0.0.1:9/v1")), store)([HELLO])


@contextmanager
def replying(content: bytes, packed: bool) -> Iterator[str]:
    """The address of a server that always says the same."""

    class Says(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            if packed:
                self.send_header("content-encoding", "gzip")
            self.end_headers()
            with suppress(OSError):  # who reads no further closes
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("packed", [True, False])
def test_a_reply_is_read_up_to_a_size_and_never_unpacked(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(clients, "MOST", 10_000)
    bomb = gzip.compress(b" " * 10_000_000) if packed else b" " * 1_000_000
    with replying(bomb, packed) as url, Store() as store:
        engine = OpenAIEngine(ApiSpec("m", base_url=url, limits=Limits(attempts=1)))
        with pytest.raises(ModelError, match="failed 1 times"):
            Model("m", engine, store)([HELLO])


def loop(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def through_a_file(folder: Path) -> Path:
    (folder / "file").write_text("", encoding="utf-8")
    return folder / "file" / "keys.json"


def dangling(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "nowhere" / "keys.json")
    return folder / "link"


NO_FILES: list[Callable[[Path], Path]] = [
    loop,
    fifo,
    through_a_file,
    dangling,
    lambda folder: folder,
    lambda folder: folder / "no folder" / "keys.json",
    lambda folder: folder / ("x" * 300),
    lambda folder: folder / "a\0b",
]


@pytest.mark.parametrize("place", NO_FILES)
def test_a_path_that_no_keys_can_be_kept_in_is_one_sentence(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for use in (lambda: keys.add(path, Caller("mia", None, None)), lambda: keys.remove(path, "mia")):
        with pytest.raises(ConfigError) as raised:
            use()
        assert is_a_sentence(raised.value)
    with pytest.raises(ConfigError):
        keys.Keys.read(path)
    assert sorted(tmp_path.rglob("*")) == before


# -- refused runs -----------------------------------------------------------------------------------------------

REFUSALS = [
    ("study", "grid.reader=/no/model"),
    ("distill solver", "student.path=/no/model"),
    ("collect", "llm.path=/no/model"),
    ("distill solver", "distill.solver.method=nonsense"),
    ("study", "train={source: jsonl, path: /no/file.jsonl}"),
    ("eval", "tests={mine: {source: jsonl, path: /no/file.jsonl}}"),
]


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize(("command", "override"), REFUSALS)
def test_a_refused_run_leaves_no_directory_behind(tmp_path: Path, command: str, override: str, store: bool) -> None:
    words = [*command.split(), "miniature", "--set", override, "--run", str(tmp_path / "runs" / "mine")]
    words += ["--set", f"store={tmp_path / 'shared' / 'store.sqlite'}"] * store
    outcome = CliRunner().invoke(main, words)
    assert outcome.exit_code == 2, outcome.output
    assert not list(tmp_path.iterdir())


def test_a_refused_run_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with pytest.raises(ConfigError), open_study(load("miniature", ["grid.reader=/no/model"]), tmp_path / "kept"):
        pass
    assert (tmp_path / "kept").is_dir()


def test_a_run_that_bought_something_before_it_failed_is_kept(tmp_path: Path) -> None:
    study = load("miniature", ["tests={mine: {source: jsonl, path: /no/file.jsonl}}"]).limited(1)
    with (
        pytest.raises(ConfigError),
        open_study(study, tmp_path / "run", llm=Scripted(answer=lambda *_: "1. How?")) as run,
    ):
        prompting.decomposer(study, run.models.llm)(run.questions.train)
        evaluate(run)
    assert (tmp_path / "run" / "store.sqlite").is_file()


def test_an_import_that_is_refused_leaves_no_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 1}', encoding="utf-8")
    with pytest.raises(ConfigError):
        commands.import_traces(tmp_path / "a.jsonl", tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_anywhere_in_a_run_is_one_sentence(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device", "a.json")
    study = load("miniature").limited(1)
    with pytest.raises(ConfigError, match=r"a\.json: No space left on device"), open_study(study, tmp_path / "run"):
        raise full
    assert not (tmp_path / "run").exists()
