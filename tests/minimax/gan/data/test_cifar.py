"""CIFAR's binary files, byte for byte as documented: read, cut off, and hostile."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError
from tacit.minimax.gan.data import cifar as module
from tacit.minimax.gan.data.cifar import FORMATS, cifar_folder, read_cifar
from tacit.rng import make_generator

TEN, HUNDRED = FORMATS
PER_FILE = 3
Files = dict[str, bytes]


def files_of(form: module.CifarFormat) -> Files:
    """Return files of a few random records."""
    generator = make_generator(0, form.name)
    found: Files = {}
    for name in form.files:
        records = torch.randint(256, (PER_FILE, form.record), generator=generator)
        for column, classes in enumerate(form.classes):
            records[:, column] %= classes
        found[name] = bytes(records.flatten().tolist())
    return found


def write_folder(folder: Path, files: Files) -> Path:
    """Write files as they lie on disk."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def archive_of(files: Files, folder: str = "cifar") -> bytes:
    """Return a ``.tar.gz`` of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


Pixels = list[list[list[int]]]


def by_hand(
    files: Files, form: module.CifarFormat, name: str, number: int
) -> tuple[int, Pixels]:
    """Return label and pixels of one image, read with a ruler."""
    start = number * form.record
    num_labels = len(form.classes)
    body = files[name][start + num_labels : start + form.record]
    pixels = [
        [[body[1024 * colour + 32 * y + x] for x in range(32)] for y in range(32)]
        for colour in range(3)
    ]
    return files[name][start + num_labels - 1], pixels


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_every_byte_is_where_it_should_be(
    form: module.CifarFormat, kind: str, tmp_path: Path
) -> None:
    files = files_of(form)
    if kind == "folder":
        path = write_folder(tmp_path / "data", files | {"batches.meta.txt": b"cat\n"})
    else:
        path = tmp_path / "data.tar.gz"
        path.write_bytes(archive_of(files | {"readme.html": b"<p>"}, form.folder))
    found = read_cifar(path)
    assert found.name == form.name
    assert found.train.shape == (PER_FILE * len(form.train), 3, 32, 32)
    assert found.test.shape == (PER_FILE, 3, 32, 32)
    places = [(name, number) for name in form.train for number in range(PER_FILE)]
    for at, (name, number) in enumerate(places):
        label, pixels = by_hand(files, form, name, number)
        assert int(found.train_labels[at]) == label
        assert found.train[at].tolist() == pixels
    label, pixels = by_hand(files, form, form.test[0], 1)
    assert (int(found.test_labels[1]), found.test[1].tolist()) == (label, pixels)


def test_the_order_in_an_archive_changes_nothing(tmp_path: Path) -> None:
    files = files_of(TEN)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(archive_of(dict(reversed(files.items()))))
    one, two = read_cifar(path), read_cifar(write_folder(tmp_path / "b", files))
    assert torch.equal(one.train, two.train)
    assert torch.equal(one.test_labels, two.test_labels)


def test_files_are_found_here_or_one_folder_below(tmp_path: Path) -> None:
    assert cifar_folder(tmp_path) is None
    inner = write_folder(tmp_path / TEN.folder, files_of(TEN))
    assert cifar_folder(tmp_path) == inner
    assert cifar_folder(inner) == inner


def test_the_version_for_python_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}")
    with pytest.raises(InputError, match=r"pickled for Python.*cifar-10-binary"):
        cifar_folder(tmp_path)
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(archive_of({"data_batch_1": b"x"}, "cifar-10-batches-py"))
    with pytest.raises(InputError, match=r"python\.tar\.gz: it is CIFAR as pickled"):
        read_cifar(path)


@pytest.mark.parametrize("name", TEN.files)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    files = files_of(TEN)
    del files[name]
    with pytest.raises(InputError, match=f"lacks {name} of cifar-10"):
        read_cifar(write_folder(tmp_path / "a", files))
    (tmp_path / "a.tar.gz").write_bytes(archive_of(files))
    with pytest.raises(InputError, match=f"lacks {name} of cifar-10"):
        read_cifar(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("size", [0, 1, 3072, 3 * 3073 - 1, 3 * 3074])
def test_a_file_of_another_length_is_refused(size: int, tmp_path: Path) -> None:
    files = files_of(TEN) | {"data_batch_3.bin": bytes(size)}
    with pytest.raises(InputError, match=rf"data_batch_3\.bin has {size} bytes.*3073"):
        read_cifar(write_folder(tmp_path / "a", files))


def test_a_label_that_there_is_not_is_refused(tmp_path: Path) -> None:
    files = files_of(TEN)
    content = bytearray(files["test_batch.bin"])
    content[3073] = 10
    files["test_batch.bin"] = bytes(content)
    with pytest.raises(InputError, match=r"test_batch\.bin has label 10.*10 classes"):
        read_cifar(write_folder(tmp_path / "a", files))
    files = files_of(HUNDRED)
    content = bytearray(files["train.bin"])
    content[0] = 20  # the coarse one
    with pytest.raises(InputError, match="label 20, but cifar-100 has 20 classes"):
        read_cifar(write_folder(tmp_path / "b", files | {"train.bin": bytes(content)}))


def test_files_of_two_versions_are_not_mixed(tmp_path: Path) -> None:
    files = {"data_batch_1.bin": b"", "train.bin": b"", "test.bin": b""}
    with pytest.raises(InputError, match=r"train\.bin has 0 bytes"):
        read_cifar(write_folder(tmp_path / "a", files))


def test_files_that_are_too_large_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(HUNDRED)
    total = sum(len(content) for content in files.values())
    folder, path = write_folder(tmp_path / "a", files), tmp_path / "a.tar.gz"
    path.write_bytes(archive_of(files))
    monkeypatch.setattr(module, "MAX_UNPACKED", total)
    assert len(read_cifar(folder).train) == PER_FILE
    monkeypatch.setattr(module, "MAX_UNPACKED", total - 1)
    for place in (folder, path):
        with pytest.raises(InputError, match=f"{total - 1} bytes"):
            read_cifar(place)


def test_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 2**20)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(2**22), compresslevel=9))
    with pytest.raises(InputError, match="unpacked it has more than 1048576 bytes"):
        read_cifar(path)


def odd_archive(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """Return an archive of one member as it is given."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content) if content else None)
    return gzip.compress(buffer.getvalue())


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_a_member_that_is_no_file_is_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("train.bin")
    member.type, member.linkname = kind, "/etc/passwd"
    (tmp_path / "a.tar.gz").write_bytes(odd_archive(member))
    with pytest.raises(InputError, match=r"train\.bin is no plain file"):
        read_cifar(tmp_path / "a.tar.gz")


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    # A file that claims a terabyte of which it has nothing, as GNU tar writes it.
    member = tarfile.TarInfo("train.bin")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(2**40),
        "GNU.sparse.map": f"{2**40},0",
    }
    (tmp_path / "a.tar.gz").write_bytes(odd_archive(member))
    with pytest.raises(InputError, match="no plain file"):
        read_cifar(tmp_path / "a.tar.gz")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for folder in ("a", "b"):
            archive.addfile(tarfile.TarInfo(f"{folder}/test.bin"))
    (tmp_path / "a.tgz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"two files test\.bin"):
        read_cifar(tmp_path / "a.tgz")


def test_many_members_are_refused(tmp_path: Path) -> None:
    files = {f"{number}.txt": b"" for number in range(101)}
    (tmp_path / "a.tar.gz").write_bytes(archive_of(files))
    with pytest.raises(InputError, match="more than 100 files"):
        read_cifar(tmp_path / "a.tar.gz")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archive_of({"hello.txt": b"hello"}))
    with pytest.raises(InputError, match="no files of CIFAR"):
        read_cifar(tmp_path / "a.tar.gz")


WHOLE = archive_of(files_of(HUNDRED))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_an_archive_that_was_cut_off_is_refused(share: float, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(WHOLE[: int(share * len(WHOLE))])
    with pytest.raises(InputError, match=r"a\.tar\.gz"):
        read_cifar(tmp_path / "a.tar.gz")


def test_a_tar_that_was_cut_off_before_packing_is_refused(tmp_path: Path) -> None:
    unpacked = gzip.decompress(WHOLE)
    for size in (100, 600, 5000):
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(unpacked[:size]))
        with pytest.raises(InputError, match=r"a\.tar\.gz"):
            read_cifar(tmp_path / "a.tar.gz")


@given(
    at=st.integers(0, 2047),
    values=st.binary(min_size=1, max_size=16),
    inside=st.booleans(),
)
def test_damage_is_refused_or_harmless(
    at: int, values: bytes, inside: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(gzip.decompress(WHOLE) if inside else WHOLE)
    content[at : at + len(values)] = values
    path = tmp_path_factory.mktemp("damaged") / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(content), 1) if inside else bytes(content))
    try:
        found = read_cifar(path)
    except InputError as error:
        message = str(error)
    else:
        message = path.name
        assert found.train.shape[1:] == (3, 32, 32)
        assert int(found.train_labels.max()) < 100
        assert found.train.dtype == torch.uint8
    assert path.name in message
