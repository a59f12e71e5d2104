"""Reading uploaded archives: what is packed arrives, whoever packed it. The hostile ones: tests/e2e/test_uploads.py."""

import io
import stat
import struct
import tarfile
import zipfile
import zlib

import pytest

from services.gateway import archive_members
from services.gateway.archive import SourceFile, batches_in
from shared.contracts.errors import ZepidError
from tests.archives import MIB, many, member, tar_of, zip_of, zipped


def read(archive: bytes) -> list[SourceFile]:
    return [file for batch in batches_in(io.BytesIO(archive)) for file in batch]


def test_a_tar_is_read_with_its_bytes_names_and_modes():
    long_name = "deep/" * 60 + "ünïcode ✓.txt"
    files = read(
        tar_of(
            member("./", kind=tarfile.DIRTYPE),
            member("./a", bytes(range(256)) * 2),
            member("./bin", b"\0" * 512, mode=0o755),
            member("sub/", kind=tarfile.DIRTYPE),
            member(long_name, b""),
            member("./node_modules/.bin/link", kind=tarfile.SYMTYPE, linkname="../../x"),
            member("exec", b"#!", mode=0o700),
        )
    )
    assert [(file.path, file.mode, len(file.data)) for file in files] == [
        ("a", 0o644, 512), ("bin", 0o755, 512), (long_name, 0o644, 0), ("exec", 0o755, 2),
    ]  # fmt: skip
    assert files[0].data == bytes(range(256)) * 2


def test_a_zip_is_read_with_its_bytes_names_and_modes():
    files = read(
        zip_of(
            zipped("folder/", b"", stat.S_IFDIR | 0o755),
            zipped("./folder/a", bytes(range(256)) * 2),
            zipped("stored ünïcode ✓", b"as it is", compress_type=zipfile.ZIP_STORED),
            zipped("run", b"#!", 0o100755),
            zipped("from-windows", b"x", 0),
            zipped("node_modules/.bin/link", b"../x", stat.S_IFLNK | 0o777),
        )
    )
    assert [(file.path, file.mode, len(file.data)) for file in files] == [
        ("folder/a", 0o644, 512), ("stored ünïcode ✓", 0o644, 8), ("run", 0o755, 2), ("from-windows", 0o644, 1),
    ]  # fmt: skip
    assert files[0].data == bytes(range(256)) * 2


def test_names_that_are_utf_8_without_saying_so_are_understood():
    undeclared = zip_of(zipped("caf-- ")).replace(b"caf-- ", "café ".encode())
    assert read(undeclared)[0].path == "café "
    name = "naïve".encode()
    declared = b"\x01" + struct.pack("<I", zlib.crc32(b"na-ve")) + name
    assert read(zip_of(zipped("na-ve", extra=struct.pack("<HH", 0x7075, len(declared)) + declared)))[0].path == "naïve"


@pytest.mark.parametrize("archive", [many(tar_of, member, 1000), many(zip_of, zipped, 1000)], ids=["tar", "zip"])
def test_files_come_in_batches_that_fit_in_memory(archive):
    sizes = [len(batch) for batch in batches_in(io.BytesIO(archive))]
    assert sum(sizes) == 1000
    assert max(sizes) <= 256


@pytest.mark.parametrize(("pack", "one"), [(tar_of, member), (zip_of, zipped)], ids=["tar", "zip"])
def test_what_unpacks_to_too_much_is_refused_however_well_it_is_packed(pack, one, monkeypatch):
    monkeypatch.setattr(archive_members, "MAX_ARCHIVE_BYTES", 3 * MIB)
    with pytest.raises(ZepidError, match="bytes when unpacked"):
        read(pack(*(one(f"f{number}", bytes(MIB)) for number in range(4))))


def test_an_archive_of_very_many_entries_is_refused(monkeypatch):
    monkeypatch.setattr(archive_members, "_MOST_ENTRIES", 50)
    with pytest.raises(ZepidError, match="more than 50 entries"):
        read(tar_of(*(member(f"node_modules/{number}") for number in range(60))))
