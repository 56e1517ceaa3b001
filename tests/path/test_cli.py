"""The command line: which call each line becomes, what it says, how it fails."""

import json
import subprocess
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import oncoseg
from oncoseg.__main__ import call, parser
from oncoseg.cli import learn
from oncoseg.cli.catalogue import dice_table
from oncoseg.cli.words import complain
from oncoseg.errors import BadFile, BadRun
from oncoseg.response import Earlier


@pytest.fixture
def verb(monkeypatch):
    """Put a stand-in in a verb's place; it gives the list of calls it will have had."""

    def stand_in(name, answer=None, **names):
        calls = []

        def record(*arguments, **options):
            calls.append((arguments, options))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        module = ModuleType(f"oncoseg.{name}")
        parts = [str(Path(oncoseg.__file__).parent / name)]  # its modules are the real ones
        vars(module).update({name: record, "__path__": parts, **names})
        monkeypatch.setitem(sys.modules, f"oncoseg.{name}", module)
        return calls

    return stand_in


@dataclass(frozen=True)
class Recipe:
    """A stand-in for `oncoseg.run.Run`."""

    data: str = ""
    to: str = ""
    network: str = "unet"
    augmentations: tuple = ()
    minutes: float = 0.0
    steps: int = 0
    folds: int = 1
    fold: int = 0
    labels: dict = field(default_factory=dict)
    regions: dict = field(default_factory=dict)
    modalities: tuple = ()
    seed: int = 0
    folder: Path = Path("no folder")

    @classmethod
    def read(cls, path, **changes):
        return cls(**{"data": path.name, "to": "old.onco", "seed": 7, "minutes": 9.0, **changes})


def outcome(*done, **failed):
    paths = [Path(each) for each in done]
    return SimpleNamespace(done=paths, kept=[], failed=failed, unlike={}, promised={})


COMMANDS = parser()[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        call([name, "--help"])
    assert stop.value.code == 0
    assert f"examples:\n  oncoseg {name}" in capsys.readouterr().out


def test_no_words_show_the_help(capsys):
    assert call([]) == 0
    assert "Research use only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predcit"], "no command 'predcit'; did you mean predict"),
        (["predict", "m"], "required: scans, --to; 'oncoseg predict --help' shows what it takes"),
        (["evaluate", "a", "b", "--metric", "dice"], "unrecognized arguments: --metric dice"),
        (["predict", "m", "s", "--to", "o", "--overlap", "1"], "'1' is not a number from 0 up to"),
        (["predict", "m", "s", "--to", "o", "--engine", "tpu"], "invalid choice: 'tpu'"),
        (["train", "d", "--to", "m", "--labels", "a=0"], "'a=0' does not give a label a whole"),
        (["train", "d", "--to", "m", "--labels", "a=1,b=1"], "two labels have the same number"),
        (["train", "d", "--to", "m", "--labels", "a"], "'a' is not name=number"),
        (["train", "d", "--to", "m", "--minutes", "0"], "'0' is not a number above 0"),
        (["train", "d", "--to", "m", "--minutes", "1", "--steps", "1"], "not allowed with"),
        (["list", "metric"], "no slot 'metric'; did you mean metrics"),
        (["show", "no_such_part"], "no part 'no_such_part'"),
    ],
)
def test_wrong_words_are_one_sentence_and_exit_2(words, sentence, capsys):
    assert call(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("oncoseg: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err


def test_predict_passes_only_what_was_given(verb, capsys):
    calls = verb("predict", outcome("out/a.json", "out/b.json"))
    assert call(["predict", "glioma", "my scans/é", "--to", "out"]) == 0
    assert calls == [(("glioma", Path("my scans/é")), {"to": Path("out"), "say": complain})]
    assert capsys.readouterr().out == "2 cases predicted, written to out\n"


def test_predict_passes_every_option(verb):
    calls = verb("predict", outcome("a.json"))
    line = "predict m.onco s --to o --engine torch --device cpu --overlap 0.25 --probabilities"
    assert call([*line.split(), "--cluster"]) == 0
    wanted = {"engine": "torch", "device": "cpu", "overlap": 0.25, "probabilities": True}
    wanted["cluster"] = "auto"
    assert calls == [(("m.onco", Path("s")), {"to": Path("o"), "say": complain, **wanted})]


def test_failed_cases_are_named_and_exit_1(verb, capsys):
    verb("predict", outcome("out/a.json", b="b/T1.nii.gz: is cut short; copy it again"))
    assert call(["predict", "m", "s", "--to", "out"]) == 1
    said = capsys.readouterr()
    assert said.out == "1 case predicted, written to out\n"
    assert said.err == "oncoseg: case b failed: b/T1.nii.gz: is cut short; copy it again\n"


def test_what_was_there_already_is_told(verb, capsys):
    found = outcome("out/a.json", "out/b.json", "out/c.json")
    found.kept = ["a", "b"]
    verb("predict", found)
    assert call(["predict", "m", "s", "--to", "out"]) == 0
    said = "1 case predicted, written to out; 2 cases there already, of the same model and files\n"
    assert capsys.readouterr().out == said


def test_predict_as_json_names_done_and_failed(verb, capsys):
    verb("predict", outcome("a.json", b="why"))
    assert call(["predict", "m", "s", "--to", "o", "--json"]) == 1
    said = {"done": ["a.json"], "kept": [], "failed": {"b": "why"}, "unlike": {}, "promised": {}}
    assert json.loads(capsys.readouterr().out) == said


def test_evaluate_splits_metrics_from_their_options(verb, capsys, tmp_path):
    answer = SimpleNamespace(as_dict=lambda: {"dice": 1.0}, table=lambda: "a table", failed={})
    calls = verb("evaluate", answer)
    names = "dice,nsd:tolerance_mm=2,share=1,hd95"
    assert call(["evaluate", "p", "t", "--metrics", names, "--to", str(tmp_path)]) == 0
    metrics = ("dice", "nsd:tolerance_mm=2,share=1", "hd95")
    assert calls == [((Path("p"), Path("t")), {"metrics": metrics, "to": tmp_path})]
    assert capsys.readouterr().out == "a table\n"
    assert call(["evaluate", "p", "t", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dice": 1.0}


def test_evaluate_takes_regions_and_fails_with_its_cases(verb, capsys):
    answer = SimpleNamespace(as_dict=dict, table=lambda: "a table", failed={"b": "missing"})
    calls = verb("evaluate", answer)
    assert call(["evaluate", "p", "t", "--regions", "wt=1,2,4", "et=4"]) == 1
    assert calls == [((Path("p"), Path("t")), {"regions": {"wt": (1, 2, 4), "et": (4,)}})]
    assert call(["evaluate", "p", "t", "--instances"]) == 1
    assert calls[-1] == ((Path("p"), Path("t")), {"instances": True})
    for words in (["wt"], ["wt=0"], ["wt=1,x"], ["wt=1", "wt=2"], ["=1"]):
        assert call(["evaluate", "p", "t", "--regions", *words]) == 2
        assert "--regions" in capsys.readouterr().err


def test_report_and_demo_say_where_the_pages_are(verb, capsys):
    calls = verb("report", [Path("r/a.html"), Path("r/b.html")])
    assert call(["report", "out"]) == 0
    assert calls == [((Path("out"),), {"earlier": Earlier()})]
    assert capsys.readouterr().out.split() == [str(Path("r/a.html")), str(Path("r/b.html"))]
    calls = verb("demo", Path("demo/x.html"))
    assert call(["demo", "--json"]) == 0
    assert call(["demo", "--to", "x"]) == 0
    assert calls == [((Path("demo"),), {}), ((Path("x"),), {"say": print})]
    assert json.loads(capsys.readouterr().out) == {"report": str(Path("demo/x.html"))}


def test_prepare_passes_the_task(verb):
    calls = verb("prepare", Path("p"))
    assert call(["prepare", "d", "--to", "p", "--labels", "a=1,b=2", "--modalities", "T1,T2"]) == 0
    task = {"labels": {"a": 1, "b": 2}, "modalities": ("T1", "T2")}
    assert callable(calls[0][1].pop("tell"))
    assert calls == [((Path("d"), Path("p")), task)]


@pytest.fixture
def training(verb, monkeypatch):
    """Stand-ins for everything that `oncoseg train` calls."""
    monkeypatch.setattr("oncoseg.cli.learn.require", lambda module, extra: None)
    verb("run", Run=Recipe)
    return verb("train", Path("m.onco"))


def test_train_makes_a_run_of_its_words(training, capsys):
    line = "train d --to m.onco --network unet:width=8 --augmentation spatial --augmentation mix"
    assert call([*line.split(), "--minutes", "2", "--regions", "WT=a+b,TC=a"]) == 0
    (((run,), options),) = training
    assert options == {"resume": False}
    assert run == Recipe(
        data="d",
        to="m.onco",
        network="unet:width=8",
        augmentations=("spatial", "mix"),
        minutes=2.0,
        regions={"WT": ("a", "b"), "TC": ("a",)},
    )
    assert capsys.readouterr().out == "the model is m.onco\n"


def test_train_from_a_file_keeps_what_is_not_said(training):
    assert call(["train", "--run", "x/run.toml", "--steps", "3", "--resume"]) == 0
    (((run,), options),) = training
    assert options == {"resume": True}
    wanted = Recipe(data="run.toml", to="old.onco", seed=7, steps=3)
    assert run == wanted


def test_a_fold_alone_is_one_of_five(training):
    assert call(["train", "d", "--to", "m.onco", "--fold", "2"]) == 0
    assert call(["train", "d", "--to", "m.onco", "--fold", "2", "--folds", "3"]) == 0
    assert [run.folds for ((run,), _) in training] == [5, 3]


@pytest.mark.parametrize("line", ["train", "train d", "train --to m.onco"])
def test_train_without_data_or_model_says_what_to_give(training, line, capsys):
    assert call(line.split()) == 2
    assert "oncoseg train DATA --to MODEL.onco" in capsys.readouterr().err
    assert training == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(BadFile("a.nii", "is cut short", "copy it again"), 1), (BadRun("no labels"), 2)],
)
def test_known_errors_become_their_sentence(verb, error, code, capsys):
    verb("report", error)
    assert call(["report", "out"]) == code
    assert capsys.readouterr().err == f"oncoseg: {error}\n"


def test_debug_raises_the_error_itself(verb):
    verb("report", BadFile("a.nii", "is cut short", "copy it again"))
    with pytest.raises(BadFile):
        call(["report", "out", "--debug"])


def test_an_interrupt_is_a_sentence_and_130(verb, capsys):
    verb("report", KeyboardInterrupt())
    assert call(["report", "out"]) == 130
    assert capsys.readouterr().err.startswith("oncoseg: stopped;")


def program(script, *words):
    """Run the program in a fresh interpreter, after `script`."""
    start = "import sys; from oncoseg.__main__ import main; "
    line = [sys.executable, "-c", f"{start}{script}; sys.exit(main())", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, encoding="utf-8")


def test_an_unforeseen_error_is_one_sentence_unless_debugged():
    broken = "sys.modules['oncoseg.report'] = type(sys)('r'); sys.modules['oncoseg.report']"
    script = f"{broken}.report = lambda *a, **k: [][1]"
    said = program(script, "report", "out")
    assert said.returncode == 1
    assert said.stderr == (
        "oncoseg: unexpected IndexError: list index out of range; "
        "run again with --debug to see where\n"
    )
    assert "Traceback" in program(script, "report", "out", "--debug").stderr


def test_train_without_torch_gives_the_pip_line():
    said = program("sys.modules['torch'] = None", "train", "d", "--to", "m.onco")
    assert said.returncode == 1
    assert said.stderr.endswith("run: pip install 'oncoseg[train]'\n")
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("line", [["--help"], ["list"], ["list", "--json"], ["predict", "--help"]])
def test_starting_imports_neither_numpy_nor_torch(line):
    check = "import atexit; atexit.register(lambda: print(sorted({'numpy', 'torch', 'scipy'} "
    said = program(check + "& set(sys.modules)), file=sys.stderr))", *line)
    assert (said.returncode, said.stderr) == (0, "[]\n")


def test_list_and_show_agree(capsys):
    assert call(["list", "--json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    for slot, parts in everything.items():
        if slot != "models":
            for part in parts:
                assert call(["show", f"{slot}/{part['name']}", "--json"]) == 0
                assert json.loads(capsys.readouterr().out)["parts"] == [part]


def test_a_closed_pipe_is_no_error():
    line = [sys.executable, "-m", "oncoseg", "list", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_every_option_of_train_is_a_field_of_the_run():
    from oncoseg.run import Run

    assert set(learn.RUN) <= {entry.name for entry in fields(Run)}


def test_dice_of_held_out_cases_is_shown_where_modalities_have_none():
    card = {"validation": {"dice": {"x": 0.5, "y": None}, "cases": 2}}
    title, row = dice_table(card, ["x", "y"])[1:]
    assert title.split()[-2:] == ["x", "y"]
    assert row.split() == ["all", "0.500", "-", "2", "cases"]
    assert dice_table({"validation": {"dice": [1], "cases": 2}}, ["x"]) == []
