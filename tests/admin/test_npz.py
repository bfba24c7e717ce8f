"""Export faces to a NumPy archive and import them; invalid archives are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import ExportUnusable
from gallery.gallery import Gallery
from gallery.types import Encodings
from tests.conftest import AddFace

ENCODER = np.array([DLIB_RESNET.name, DLIB_RESNET.sha256])


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(60, 21)


@pytest.fixture
def people(gallery: Gallery, rows: Encodings, add_face: AddFace) -> Gallery:
    for i in range(12):
        add_face(gallery.database, f"person {i // 3}", rows.row(i), i)
    gallery.describe("person 1", external_id="e-1", details={"k": "v"}, expires="2040-05-06")
    gallery.set_taken(2, "1998")
    gallery.set_taken(3, "2004-07-14")
    return gallery


def new_gallery(people: Gallery, tmp_path: Path) -> Gallery:
    return Gallery.open(tmp_path / "other", cache=people.settings.cache)


def test_exported_faces_can_be_imported_completely(people: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    assert people.export(file) == 12
    with np.load(file, allow_pickle=False) as archive:
        assert (
            archive["encodings"].shape == (12, 128)
            and len(json.loads(archive["names"].tobytes())) == 4
        )
    with new_gallery(people, tmp_path) as gallery:
        assert gallery.import_from(file) == (12, 0)
        assert gallery.import_from(file) == (0, 12)
        for record in people.identities():
            imported, faces = gallery.identity(record.name)
            assert (
                imported.external_id, imported.details, imported.expires_at, imported.faces,
            ) == (
                record.external_id, record.details, record.expires_at, record.faces,
            )  # fmt: skip
            for face, copy in zip(people.identity(record.name)[1], faces, strict=True):
                assert (face.photo, face.photo_sha256, face.box, face.norm, face.taken) == (
                    copy.photo, copy.photo_sha256, copy.box, copy.norm, copy.taken,
                )  # fmt: skip
        assert (gallery.encodings().encodings.vectors == people.encodings().encodings.vectors).all()
        assert len(gallery.index.catch_up()) == 12
        assert [f for f in gallery.check() if not f.ok] == []


def test_encoder_names_and_encodings_are_enough(
    people: Gallery, tmp_path: Path, rows: Encodings
) -> None:
    file = tmp_path / "x.npz"
    names = np.array(["Ada", "Grace", "Ada"])
    np.savez(file, encoder=ENCODER, names=names, encodings=rows.vectors[40:43])
    assert people.import_from(file) == (3, 0)
    assert people.import_from(file) == (0, 3)
    assert people.identity("Ada")[0].faces == 2


def test_near_name_means_the_person_and_is_noted(
    people: Gallery, tmp_path: Path, rows: Encodings
) -> None:
    file, notes = tmp_path / "x.npz", []
    names = np.array(["Person_1", "Mei Lin", "mei-lin"])
    np.savez(file, encoder=ENCODER, names=names, encodings=rows.vectors[40:43])
    assert people.import_from(file, note=notes.append) == (3, 0)
    assert [
        (r.name, r.faces) for r in people.identities() if r.name in ("Mei Lin", "person 1")
    ] == [
        ("Mei Lin", 2),
        ("person 1", 4),
    ]
    assert len(people.identities()) == 5
    assert notes == [
        "'Person_1' is taken to be 'person 1'; use new if it is another person",
        "'mei-lin' is taken to be 'Mei Lin'; use new if it is another person",
    ]
    assert people.import_from(file, new=True) == (2, 1)  # Mei Lin's is there
    assert {"Person_1", "mei-lin"} < {record.name for record in people.identities()}
    np.savez(file, encoder=ENCODER, names=np.array(["PERSON 1"]), encodings=rows.vectors[50:51])
    with pytest.raises(ExportUnusable, match="'PERSON 1' may be 'Person_1' or 'person 1'"):
        people.import_from(file)


def test_exported_people_of_near_names_stay_two(people: Gallery, tmp_path: Path) -> None:
    people.rename("person 2", "Person-1", new=True)
    file = tmp_path / "x.npz"
    people.export(file)
    with new_gallery(people, tmp_path) as gallery:
        for expected in ((12, 0), (0, 12)):
            assert gallery.import_from(file) == expected
        assert [r.name for r in gallery.identities()] == [r.name for r in people.identities()]


def test_ids_are_not_reused(people: Gallery, tmp_path: Path, rows: Encodings) -> None:
    people.forget("person 3")
    newest = max(f.id for f in people.faces())
    file = tmp_path / "x.npz"
    np.savez(file, encoder=ENCODER, names=np.array(["Ada"]), encodings=rows.vectors[50:51])
    people.import_from(file)
    record, (face,) = people.identity("Ada")
    assert record.id == 5 and face.id == newest + 4


def test_external_id_in_use_is_not_imported(people: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    people.export(file)
    people.rename("person 1", "somebody else")
    people.import_from(file)
    assert people.identity("person 1")[0].external_id is None
    assert people.identity("somebody else")[0].external_id == "e-1"


def test_archive_of_an_earlier_version_has_no_dates(people: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    people.export(file)
    with np.load(file) as archive:
        np.savez(file, **{name: archive[name] for name in archive.files if name != "taken"})
    with new_gallery(people, tmp_path) as gallery:
        assert gallery.import_from(file) == (12, 0)
        assert {face.taken for face in gallery.faces()} == {None}


def changed(**values: Any):  # type: ignore[no-untyped-def]
    return lambda arrays: arrays.update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("encodings"), "no 'encodings'"),
        (lambda a: a.pop("encoder"), "no 'encoder'"),
        (changed(encoder=np.array(["arcface", "0" * 64])), "arcface.*cannot be compared"),
        (changed(form=np.array("face-gallery-faces-9")), "faces-9"),
        (lambda a: a.update(encodings=a["encodings"].astype(np.float64)), "float64"),
        (lambda a: a.update(encodings=a["encodings"][:, :64]), r"\(12, 64\)"),
        (lambda a: a.update(encodings=a["encodings"] * 2), "encoding 0 does not have unit length"),
        (lambda a: a["encodings"].__setitem__((7, 3), np.nan), "encoding 7"),
        (lambda a: a.update(owners=a["owners"] + 1), "owners range"),
        (lambda a: a.update(owners=a["owners"][:5]), "owners are"),
        (lambda a: a.update(names=np.array(["x"] * 4)), "contains a name twice"),
        (lambda a: a.update(names=np.array(["", "b", "c", "d"])), "name is empty"),
        (lambda a: a.update(photo_sha256=np.array(["zz"] * 12)), "64 hex digits"),
        (lambda a: a.update(norms=np.full(12, np.inf, np.float32)), "norms has values"),
        (lambda a: a.update(details=np.array(["["] * 4)), "cannot be read"),
        (lambda a: a.update(boxes=np.zeros((12, 3))), "boxes are"),
        (changed(taken=np.array(["1998"] * 11 + ["2999"])), "no photo was taken in 2999"),
        (changed(taken=np.array(["1998"] * 11)), "taken are not 12 texts"),
        (changed(views=np.zeros(12)), "views 0 is 0, expected a whole number from 1 to 10"),
        (lambda a: a["views"].__setitem__(7, 11), "views 7 is 11"),
        (lambda a: a.update(external_ids=np.array(["e"] * 4)), "contains an external id twice"),
    ],
)
def test_invalid_archive_changes_nothing(
    people: Gallery, tmp_path: Path, change, message: str
) -> None:
    file = tmp_path / "x.npz"
    people.export(file)
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(file, **arrays)
    with new_gallery(people, tmp_path) as gallery:
        with pytest.raises(ExportUnusable, match=message):
            gallery.import_from(file)
        assert gallery.identities() == []


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_file_that_is_not_an_archive_is_refused(
    people: Gallery, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    with pytest.raises(ExportUnusable, match="not a NumPy archive"):
        people.import_from(file)
    np.savez(file, encodings=np.array([{"pickled": 1}], dtype=object))
    with pytest.raises(ExportUnusable):
        people.import_from(file)


def test_faces_come_back_with_the_same_numbers(
    people: Gallery, rows: Encodings, tmp_path: Path
) -> None:
    drawn = np.random.default_rng(8)
    arrays = {
        "landmarks": drawn.normal(size=(60, 5, 2)) * 10.0 ** drawn.integers(-12, 12, (60, 5, 2)),
        "boxes": drawn.uniform(1, 4000, size=(60, 4)),
        "sizes": drawn.integers(1, 9000, size=(60, 2)),
        "probabilities": drawn.uniform(size=60),
        "sharpness": drawn.uniform(size=60) * 100,
        "views": drawn.integers(1, 11, size=60),
        "norms": rows.norms,
        "agreement": drawn.uniform(size=60).astype(np.float32),
        "encodings": rows.vectors,
    }
    texts = {
        "names": [f"person {i % 20:02}" for i in range(60)],
        "photos": [f"{i}.jpg" for i in range(60)],
        "taken": ["" if i % 3 else f"{1950 + i}" for i in range(60)],
    }
    first, again = tmp_path / "first.npz", tmp_path / "again.npz"
    np.savez(first, encoder=ENCODER, **{k: np.array(v) for k, v in (arrays | texts).items()})
    with new_gallery(people, tmp_path) as gallery:
        assert gallery.import_from(first) == (60, 0)
        assert gallery.export(again) == 60
    with np.load(again, allow_pickle=False) as archive:
        owners = [json.loads(archive["names"].tobytes())[i] for i in archive["owners"]]
        order = np.argsort(texts["names"], kind="stable")  # an identity's faces are stored together
        assert owners == [texts["names"][i] for i in order]
        for name, values in arrays.items():
            assert archive[name].tolist() == values[order].tolist(), name
        for name in ("photos", "taken"):
            assert json.loads(archive[name].tobytes()) == [texts[name][i] for i in order], name


def test_empty_gallery_is_exported_and_imported(people: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "empty.npz"
    with new_gallery(people, tmp_path) as gallery:
        assert gallery.export(file) == 0
    assert people.import_from(file) == (0, 0)
