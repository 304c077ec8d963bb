"""Lines to paste train exactly the settings that were chosen, by options that `accelerate launch` has."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from helpers.made import small

from redistill.cli.commands import main
from redistill.common.files import read_json
from redistill.training.config import DistillConfig
from redistill.training.launching import launch_lines, sbatch_file, stays_here
from redistill.training.presets import PRESETS

# In place of the programs of a cluster: what they are called with is noted, as bash reads it.
STUB = '#!/bin/bash\nprintf "%s\\n" "$(basename "$0")" "$@" >> "$NOTES"\necho >> "$NOTES"\n'
SRUN = '#!/bin/bash\nexport SLURM_NODEID=1\nexec "$@"\n'
SCONTROL = "#!/bin/bash\nprintf 'node-a\\nnode-b\\n'\n"
ODD = "runs/it's $(odd) `x`"


def paste(text: str, folder: Path) -> list[list[str]]:
    """The calls of accelerate that a text makes, its lines run by bash in an empty folder."""
    (folder / "bin").mkdir()
    for name, script in {"accelerate": STUB, "srun": SRUN, "scontrol": SCONTROL}.items():
        file = folder / "bin" / name
        file.write_text(script)
        file.chmod(0o755)
    given = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "NOTES": str(folder / "notes"),
        "SLURM_JOB_NODELIST": "node-[a-b]",
    }
    done = subprocess.run(
        ["bash", "-u"], input=text, cwd=folder, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [part.splitlines()[1:] for part in (folder / "notes").read_text().strip("\n").split("\n\n")]


def trained(call: list[str], folder: Path) -> tuple[str, DistillConfig]:
    """The run's folder and its settings that a call of accelerate trains."""
    options = launch_command_parser().parse_args(call[1:])
    assert options.module and options.training_script == "redistill"
    command, *rest = options.training_script_args
    given = dict(zip(rest[::2], rest[1::2], strict=True))
    assert command == "distill" and set(given) == {"--config", "--run-dir"}
    return given["--run-dir"], DistillConfig.from_dict(read_json(folder / given["--config"]))


@pytest.mark.parametrize("name", ["default", "faces", "quick"])
@pytest.mark.parametrize("write", [launch_lines, sbatch_file])
def test_pasted_lines_train_the_settings_that_were_chosen(tmp_path, name, write):
    config = PRESETS[name].config
    (call,) = paste(write({ODD: config}, 2), tmp_path)
    assert trained(call, tmp_path) == (ODD, dataclasses.replace(config, device="cuda"))
    options = launch_command_parser().parse_args(call[1:])
    assert (options.num_processes, options.num_machines, options.multi_gpu) == (2, 1, True)
    assert options.mixed_precision == "no", "the run's own setting decides"


def test_several_machines_know_the_first_and_their_place(tmp_path):
    lines = (
        launch_lines({"runs/a": small(batch_size=8)}, 4, 2).replace("RANK=0", "RANK=1").replace("127.0.0.1", "10.0.0.7")
    )
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    (pasted,), (batched,) = (
        paste(lines, tmp_path / "a"),
        paste(sbatch_file({"r": small(batch_size=8)}, 4, 2), tmp_path / "b"),
    )
    for call, address in ((pasted, "10.0.0.7"), (batched, "node-a")):
        options = launch_command_parser().parse_args(call[1:])
        assert (options.num_processes, options.num_machines) == (8, 2)
        assert (options.machine_rank, options.main_process_ip) == (1, address)


def test_a_batch_file_asks_for_what_it_uses():
    text = sbatch_file({"runs/mine": small(batch_size=8)}, 4, 2, hours=3)
    asked = dict(line.removeprefix("#SBATCH --").split("=") for line in text.splitlines() if line.startswith("#SBATCH"))
    assert text.startswith("#!/bin/bash\n#SBATCH") and asked["time"] == "3:00:00" and asked["job-name"] == "mine"
    assert (asked["nodes"], asked["gpus-per-node"], asked["ntasks-per-node"]) == ("2", "4", "1")


def test_several_runs_follow_each_other(tmp_path):
    runs = {"runs/teacher": small(), "runs/student": small(teacher_checkpoint="runs/teacher/student")}
    found = dict(trained(call, tmp_path) for call in paste(launch_lines(runs, 1), tmp_path))
    assert list(found) == list(runs) and found["runs/student"].teacher_checkpoint == "runs/teacher/student"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 1), "gpus is 0"),
        ((1, 0), "machines is 0"),
        ((True, 1), "gpus is True"),
        ((3, 1), "batch_size is 8"),
        ((65, 1), "65"),
    ],
)
def test_what_cannot_be_launched_is_a_sentence(given, said):
    for write in (launch_lines, sbatch_file):
        with pytest.raises(ValueError, match=said):
            write({"runs/a": small(batch_size=8)}, *given)
    with pytest.raises(ValueError, match="hours is 0"):
        sbatch_file({"runs/a": small()}, 1, hours=0)


def test_what_stays_on_this_machine_is_told(tmp_path, untrained):
    assert stays_here(PRESETS["default"].config) == "", "its teacher ships"
    for teacher in ("torchvision:resnet18", "hub:someone/teacher", None):
        assert stays_here(small(teacher_checkpoint=teacher)) == ""
    own = str(untrained / "small")
    assert "folder of this machine" in stays_here(small(teacher_checkpoint=own))
    assert stays_here(small(teacher_checkpoint=own), [own]) == ""
    assert "upload:mine" in stays_here(small(dataset="upload:mine")) and "lie on this" in stays_here(
        small(dataset=f"folder:{tmp_path}")
    )


def test_the_shell_prints_what_can_be_pasted(tmp_path, capsys):
    asked = ["launch", "--preset", "quick", "--steps", "7", "--run-dir", "runs/x", "--gpus", "2"]
    assert main([*asked, "--machines", "2", "--sbatch", "--hours", "5"]) == 0
    assert "#SBATCH --nodes=2" in (text := capsys.readouterr().out) and "--time=5:00:00" in text
    assert main(asked) == 0
    (call,) = paste(capsys.readouterr().out, tmp_path)
    folder, config = trained(call, tmp_path)
    assert folder == "runs/x" and config == dataclasses.replace(PRESETS["quick"].config, steps=7, device="cuda")
    assert main([*asked, "--gpus", "7"]) == 1 and "multiple of 7" in capsys.readouterr().err
