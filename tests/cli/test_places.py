"""Places to write to: made before the work, refused if they cannot be written."""

import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from commands import files_in
from tacit.cli.places import json_bytes, result_places, save_figure
from tacit.errors import InputError


def places(
    json_file: Path | None,
    out: Path | None,
    others: tuple[Path, ...] = (),
    inputs: tuple[Path, ...] = (),
) -> tuple[Path, ...]:
    """Call with few words."""
    return result_places(json_file, out, others=others, inputs=inputs)


def test_folders_are_made_and_each_place_is_named_once(tmp_path: Path) -> None:
    out, other = tmp_path / "a" / "b", tmp_path / "c" / "r.json"
    assert places(None, None) == ()
    assert places(other, out) == (other, out / "result.json")
    assert out.is_dir()
    assert other.parent.is_dir()
    same = out / ".." / "b" / "result.json"
    assert places(same, out) == (out / "result.json",)


def test_places_with_another_use_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for json_file, out, words in (
        (tmp_path / "file", None, "file would be overwritten"),
        (tmp_path / "link", None, "file would be overwritten"),
        (tmp_path, None, "it is not a file"),
        (Path("."), None, "it is not a file"),
        (Path(os.devnull), None, "it is not a file"),
        (None, tmp_path / "file", "--out cannot write to .*: it is a file"),
        (tmp_path / "file" / "r.json", None, "--json cannot write"),
        (None, Path("/proc/none"), "--out cannot write"),
        (tmp_path / "x.png", None, "--json .* is another result's file"),
    ):
        with pytest.raises(InputError, match=words):
            places(json_file, out, (tmp_path / "x.png",), (tmp_path / "file",))
    assert files_in(tmp_path) == {"file", "link"}


def test_another_result_does_not_overwrite_an_input(tmp_path: Path) -> None:
    path = tmp_path / "factors.npz"
    with pytest.raises(InputError, match="would be overwritten"):
        places(None, tmp_path, (path,), (path,))


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as a person whom no permission stops.
    def denied(path: Path, mode: int) -> bool:
        return False

    monkeypatch.setattr(os, "access", denied)
    with pytest.raises(InputError, match="not permitted"):
        places(None, tmp_path)


def test_json_is_of_the_standard() -> None:
    assert json_bytes({"b": [1, None], "a": 0.1}) == (
        b'{\n  "b": [\n    1,\n    null\n  ],\n  "a": 0.1\n}\n'
    )
    with pytest.raises(ValueError, match="JSON"):
        json_bytes({"a": float("nan")})


def test_a_figure_is_written_in_the_format_of_each_name(tmp_path: Path) -> None:
    contents: list[list[bytes]] = []
    paths = [tmp_path / "f.png", tmp_path / "f.pdf"]
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([1, 2])
        assert save_figure(figure, paths) == paths
        contents.append([path.read_bytes() for path in paths])
    assert contents[0][0].startswith(b"\x89PNG")
    assert contents[0][1].startswith(b"%PDF")
    assert contents[0] == contents[1]
