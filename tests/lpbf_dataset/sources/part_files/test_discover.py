import json
import pickle

import pytest

from lpbf_dataset.sources.base import SourceError
from lpbf_dataset.sources.part_files import discover_parts


def touch(top, *names):
    for name in names:
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def found(top):
    return {part.name: part.path.relative_to(top).as_posix() for part in discover_parts(top)}


def test_one_file(tmp_path):
    touch(tmp_path, "100_0a1b2c3d_4.STL")
    (part,) = discover_parts(tmp_path / "100_0a1b2c3d_4.STL")
    assert (part.name, part.design_id, part.official_split) == ("100_0a1b2c3d_4", "100_0a1b2c3d", None)


def test_a_folder_is_searched_with_its_folders(tmp_path):
    touch(tmp_path, "b.stl", "a.OBJ", "more/c.3mf", "more/deep/d.stp", "notes.txt", "picture.png")
    assert list(found(tmp_path).items()) == [
        ("a", "a.OBJ"),
        ("b", "b.stl"),
        ("c", "more/c.3mf"),
        ("d", "more/deep/d.stp"),
    ]


def test_of_several_formats_the_mesh_is_taken(tmp_path):
    touch(tmp_path, "a.step", "a.stl", "a.ply", "b.step", "b.obj")
    assert found(tmp_path) == {"a": "a.stl", "b": "b.obj"}


def test_equal_names_in_different_folders_are_told_apart(tmp_path):
    touch(tmp_path, "x/part.stl", "y/part.stl", "y/other.stl", "100_0a1b2c3d_4.stl", "z/100_0a1b2c3d_4.stl")
    assert found(tmp_path) == {
        "x__part": "x/part.stl",
        "y__part": "y/part.stl",
        "other": "y/other.stl",
        "100_0a1b2c3d_4": "100_0a1b2c3d_4.stl",
        "z__100_0a1b2c3d_4": "z/100_0a1b2c3d_4.stl",
    }
    assert {part.design_id for part in discover_parts(tmp_path / "z")} == {"100_0a1b2c3d"}
    assert {part.design_id for part in discover_parts(tmp_path) if "0a1b" in part.name} == {"100_0a1b2c3d"}


def test_links_to_folders_are_not_followed(tmp_path):
    touch(tmp_path, "parts/a.stl")
    (tmp_path / "parts" / "loop").symlink_to(tmp_path)
    assert found(tmp_path / "parts") == {"a": "a.stl"}


def test_the_gallery_release_has_an_official_split(tmp_path):
    touch(tmp_path, "meshes/1_00000000_0.obj", "meshes/1_00000000_0.seg", "meshes/1_00000000_1.obj")
    touch(
        tmp_path, "breps/step/1_00000000_0.stp", "breps/step/2_00000000_0.stp", "breps/smt/9_00000000_0.stp"
    )
    touch(tmp_path, "point_clouds/7_00000000_0.ply")
    split = {"train": ["1_00000000_0", "5_00000000_0"], "test": ["2_00000000_0"]}
    (tmp_path / "train_test.json").write_text(json.dumps(split))
    parts = discover_parts(tmp_path)
    assert [(part.path.relative_to(tmp_path).as_posix(), part.official_split) for part in parts] == [
        ("meshes/1_00000000_0.obj", "train"),
        ("meshes/1_00000000_1.obj", None),
        ("breps/step/2_00000000_0.stp", "test"),
    ]
    assert pickle.loads(pickle.dumps(parts)) == parts  # noqa: S301


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"train": ["a"]}', '{"train": 3, "test": []}', "[" * 100_000]
)
def test_a_malformed_split_file_is_named(tmp_path, text):
    touch(tmp_path, "meshes/1_00000000_0.obj")
    (tmp_path / "train_test.json").write_text(text)
    with pytest.raises(SourceError, match=r"train_test\.json"):
        discover_parts(tmp_path)


def test_places_without_parts_are_refused(tmp_path):
    touch(tmp_path, "empty/notes.txt")
    for place, message in (
        ("none", "no such"),
        ("empty", "no part files"),
        ("empty/notes.txt", "not a part file"),
    ):
        with pytest.raises(SourceError, match=message):
            discover_parts(tmp_path / place)
