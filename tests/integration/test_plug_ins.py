"""Two packages of other people, built and put beside the project: a method and a family of models; and broken ones."""

import importlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import Qwen2_5_VLForConditionalGeneration

import adapttoken
from jobs.run import main as run
from pipeline.method.selectors.registry import can_stop_early, get_selector, method_names
from pipeline.models.loading import describe_model
from pipeline.models.registry import get_family, known_families
from pipeline.results.finished import read_answers
from pipeline.settings.config import ModelConfig
from pipeline.settings.plug_ins import PlugInError, forget_plug_ins

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with both packages, as pip would have unpacked them."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("selector_package", "model_package"):
        source = folder / name
        shutil.copytree(EXAMPLES / name, source)
        subprocess.run([sys.executable, "-c", _BUILD, str(folder)], cwd=source, check=True, capture_output=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def use(monkeypatch):
    """Put a folder of packages on the path, for one test."""

    def put(folder):
        monkeypatch.syspath_prepend(str(folder))
        forget_plug_ins()

    yield put
    for name in [name for name in sys.modules if name.startswith("example_")]:
        del sys.modules[name]
    forget_plug_ins()


def offer(folder, package, group, name, value, code=""):
    """A package that offers one thing and may be broken."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (folder / f"example_{package}.py").write_text(code)


def test_nothing_is_offered_until_a_package_is_installed(installed, use):
    assert "late" not in method_names()
    use(installed)
    assert method_names()[-2:] == ["late", "late-heard"]
    assert "example_late_selector" not in sys.modules  # names alone import nothing
    assert "example_tuned_vl" in known_families()


def test_an_own_method_answers_from_the_command_line(installed, use, archive, model_folder, tmp_path):
    use(installed)
    words = ["--manifest", str(archive), "--output", str(tmp_path), "--model", str(model_folder), "--method", "late"]
    assert run([*words, "--executor", "serial", "--max-frames", "64", "--frames-per-group", "16", "--limit", "2"]) == 0
    rows = read_answers(str(tmp_path)).to_pylist()
    assert [(row["method"], row["status"]) for row in rows] == [("late", "ok")] * 2
    for row in rows:
        assert len(row["groups"]) == 4
        assert sum(group["num_tokens_bought"] > 0 for group in row["groups"]) == 1  # AdaptToken buys from all four
    assert can_stop_early("late") is False


def test_an_own_method_can_let_the_groups_have_a_say_in_the_answer(installed, use, archive, model_folder, tmp_path):
    use(installed)
    rows = {}
    for method in ("late", "late-heard"):
        words = ["--manifest", str(archive), "--output", str(tmp_path), "--model", str(model_folder), "--limit", "2"]
        words += ["--method", method, "--executor", "serial", "--max-frames", "64", "--frames-per-group", "16"]
        assert run(words) == 0
    for row in read_answers(str(tmp_path)).to_pylist():
        rows.setdefault(row["question_id"], {})[row["method"]] = row
    choices = [pair for pair in rows.values() if pair["late"]["option_probabilities"]]
    assert choices
    for pair in choices:
        final, heard = (pair[method]["option_probabilities"] for method in ("late", "late-heard"))
        last = pair["late-heard"]["groups"][-1]["response"].strip()
        said = [float(last.startswith(letter)) for letter in "ABCDEFGH"[: len(final)]]
        expected = [p + s for p, s in zip(final, said, strict=True)]
        assert heard == pytest.approx([p / sum(expected) for p in expected], abs=1e-5)
        assert pair["late-heard"]["answer_entropy"] == pair["late"]["answer_entropy"]


def save_as_own(model_folder, folder):
    """The same weights as their owners would publish them."""
    own = importlib.import_module("example_tuned_model")
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(model_folder)
    fields = stock.config.to_dict()
    tuned = own.TunedModel(own.TunedConfig(**{name: fields[name] for name in fields if name != "model_type"}))
    tuned.load_state_dict(stock.state_dict())
    shutil.copytree(model_folder, folder)
    tuned.save_pretrained(folder)


def test_an_own_family_loads_and_answers_as_the_one_that_it_is_made_of(installed, use, archive, model_folder, tmp_path):
    own = tmp_path / "own"
    use(installed)
    save_as_own(model_folder, own)
    video, settings = str(archive.parent / "videos" / "v000.mp4"), ["max_frames=32", "answer_tokens=4"]
    assert describe_model(ModelConfig(model=str(own))).family == "example_tuned_vl"
    asked = [("What color is the star?", ["red", "green"])]
    found = []
    for name in (model_folder, own):
        model, run_config = adapttoken.load_video_model(str(name), settings=settings)
        (answer,) = adapttoken.answer_video(video, asked, model=model, config=run_config)
        found.append((answer.answer, answer.entropy, answer.final.option_probabilities))
    assert type(model._model).__name__ == "TunedModel"
    assert found[0] == found[1]


BROKEN = [
    ("lost", "example_lost:Thing", "raise ImportError('no module named\\n torch9')", "lost 1.0 cannot be imported"),
    ("gone", "example_gone:Thing", "", "gone 1.0 cannot be imported (example_gone:Thing: AttributeError"),
    (
        "deaf",
        "example_deaf:Thing",
        "from adapttoken import AdaptToken\nclass Thing(AdaptToken):\n    name = 'deaf'\n    weigh = 1\n",
        "it lacks weigh;",
    ),
    ("half", "example_half:Thing", "class Thing:\n    name = 'half'\n    can_stop = False\n", "it lacks needs_scores,"),
    ("other", "example_other:Thing", "class Thing: name = 'x'\n", "name = 'other'"),
    ("uniform", "example_uniform:Thing", "", "'uniform' is offered by uniform 1.0, and adapttoken has one of that"),
]


@pytest.mark.parametrize(("name", "value", "code", "expected"), BROKEN)
def test_a_broken_method_is_one_line_and_stops_nobody_else(name, value, code, expected, use, tmp_path):
    offer(tmp_path, name, "adapttoken.selectors", name, value, code)
    use(tmp_path)
    with pytest.raises(PlugInError) as raised:
        get_selector(name)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert get_selector("adapttoken").name == "adapttoken"
    assert can_stop_early(name) is False


def test_two_packages_of_one_name_are_named_both(use, tmp_path):
    for package in ("first", "second"):
        offer(tmp_path, package, "adapttoken.models", "example_vl", f"example_{package}:FAMILY")
    use(tmp_path)
    with pytest.raises(PlugInError, match=r"'example_vl' is offered by first 1\.0, second 1\.0; uninstall all but one"):
        get_family("example_vl")


def test_what_is_no_family_is_refused(use, tmp_path):
    offer(tmp_path, "first", "adapttoken.models", "example_vl", "example_first:FAMILY", "FAMILY = 7\n")
    use(tmp_path)
    with pytest.raises(PlugInError, match=r"'example_vl' of first 1\.0 is no adapttoken\.Family, but 7; update it"):
        get_family("example_vl")


def test_the_command_line_says_what_is_wrong_with_a_method_in_one_line(use, tmp_path, archive, capsys):
    offer(tmp_path / "site", "half", "adapttoken.selectors", "half", "example_half:Thing", "class Thing: pass\n")
    use(tmp_path / "site")
    words = ["--manifest", str(archive), "--output", str(tmp_path / "out"), "--model", "demo", "--method", "half"]
    assert run(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if " ERROR " in line]
    assert "method 'half' of half 1.0 is no selector" in line
