"""Archives as people pack them, and as nobody should: a corpus of hostile ones, each with what its refusal must say."""

import gzip
import io
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

MIB = 1024 * 1024
TarMember = tuple[tarfile.TarInfo, bytes]


class Hostile(NamedTuple):
    """What makes the archive's bytes, and a part of the refusal: the file's name and what is wrong with it."""

    make: Callable[[], bytes]
    said: str


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, **more: object) -> TarMember:
    info = tarfile.TarInfo(name)
    info.type = kind
    for attribute, value in more.items():
        setattr(info, attribute, value)
    return info, data if kind == tarfile.REGTYPE else b""


def tar_of(*members: TarMember, format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=format, compresslevel=1) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(name: str, data: bytes = b"x", mode: int = 0o100644, **more: object) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    for attribute, value in more.items():
        setattr(info, attribute, value)
    return info, data


def zip_of(*members: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compresslevel=1) as file:
        for info, data in members:
            file.writestr(info, data)
    return out.getvalue()


def many(pack: Callable[..., bytes], one: Callable[..., object], count: int) -> bytes:
    return pack(*(one(path, data) for path, data in numbered(count).items()))


def numbered(count: int) -> dict[str, bytes]:
    """So many small files, all different."""
    return {f"f/{number % 97}/{number}.txt": b"%d" % number for number in range(count)}


def _zeros(pack: Callable[..., bytes], one: Callable[..., object]) -> bytes:
    return pack(*(one(f"zeros{number}", bytes(24 * MIB)) for number in range(3)))


def _changed(archive: bytes, old: bytes, new: bytes, *, last: bool = False) -> bytes:
    """Return an archive with one place changed: the first, or the last, which is in a zip's directory."""
    at = archive.rfind(old) if last else archive.find(old)
    assert at >= 0
    return archive[:at] + new + archive[at + len(old) :]


def _both_changed(old: bytes, new: bytes) -> bytes:
    """A zip with its one file renamed under the zip writer's hands, in header and directory."""
    return zip_of(zipped(old.decode())).replace(old, new)


def _directory_field(offset: int, value: bytes) -> bytes:
    """A zip of the file `one` with a field of its entry in the directory overwritten."""
    archive = zip_of(zipped("one", b"x" * 100))
    at = archive.rfind(b"PK\x01\x02") + offset
    return archive[:at] + value + archive[at + len(value) :]


def _encrypted() -> bytes:
    archive = _directory_field(8, b"\x01\x00")
    return archive[:6] + b"\x01\x00" + archive[8:]


def _with_huge_directory() -> bytes:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_535, 65_535, 40 * MIB, 0, 0)
    return b"PK\x03\x04" + bytes(40 * MIB - 4) + end


def _huge_header() -> bytes:
    info, data = member("a")
    info.pax_headers = {"comment": "x" * (30 * MIB)}
    return tar_of((info, data))


def _negative_size() -> bytes:
    header = bytearray(tarfile.TarInfo("negative").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


def _unlike_unicode_path() -> bytes:
    """The field that names a file in UTF-8 leads out of the tree; the plain name does not."""
    declared = b"\x01" + struct.pack("<I", zlib.crc32(b"plain")) + b"../evil"
    return zip_of(zipped("plain", extra=struct.pack("<HH", 0x7075, len(declared)) + declared))


LINK, HARD, PIPE, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café.txt") for form in ("NFC", "NFD"))


def _in_both(name: str, members: Iterable[tuple[str, bytes]], said: str) -> dict[str, Hostile]:
    members = list(members)
    return {
        f"tar: {name}": Hostile(lambda: tar_of(*(member(*given) for given in members)), said),
        f"zip: {name}": Hostile(lambda: zip_of(*(zipped(*given) for given in members)), said),
    }


def _one(name: str, path: str, said: str) -> dict[str, Hostile]:
    return _in_both(name, [(path, b"x")], said)


HOSTILE: dict[str, Hostile] = {
    **_one("a path out of the tree", "../evil", "'../evil' cannot be used"),
    **_one("a path that climbs on its way", "a/../../evil", "segment"),
    **_one("an absolute path", "/etc/passwd", "'/etc/passwd' cannot be used: it is absolute"),
    **_one("a backslash", "a\\..\\..\\evil", "has a backslash"),
    **_one("a drive", "C:/windows/evil", "'C:/windows/evil': begins like the name of a drive"),
    **_one("an endless name", "n" * 1025, "longer than 1024 bytes"),
    **_one("a hidden climb", "node_modules/../../evil", "segment"),
    **_in_both("a file twice", [("twice", b"1"), ("./twice", b"2")], "twice: is in the archive twice"),
    **_in_both("case", [("Read.me", b"1"), ("read.ME", b"2")], "read.ME: differs from Read.me only"),
    **_in_both("sharp s", [("straße", b"1"), ("STRASSE", b"2")], "STRASSE: differs from"),
    **_in_both("accents", [(COMPOSED, b"1"), (DECOMPOSED, b"2")], f"{DECOMPOSED}: differs from"),
    **_in_both("below a file", [("a/b", b"1"), ("a", b"2")], "a/b: a is a file"),
    **_in_both("a large file", [("large", bytes(26 * MIB))], "large: has 27262976 bytes"),
    "tar: too many files": Hostile(lambda: many(tar_of, member, 20_001), "one file too many; a tree may have 20000"),
    "zip: too many files": Hostile(lambda: many(zip_of, zipped, 20_001), "one file too many; a tree may have 20000"),
    "tar: a bomb": Hostile(lambda: _zeros(tar_of, member), "grows to more than 200 times"),
    "zip: a bomb": Hostile(lambda: _zeros(zip_of, zipped), "grows to more than 200 times"),
    "tar: nothing to deploy": Hostile(lambda: tar_of(member("node_modules/a")), "holds no file"),
    "zip: nothing to deploy": Hostile(lambda: zip_of(zipped("node_modules/a")), "holds no file"),
    "tar: a link": Hostile(lambda: tar_of(member("link", kind=LINK, linkname="a")), "link: is a link"),
    "tar: a link out": Hostile(lambda: tar_of(member("link", kind=LINK, linkname="/etc")), "link: is a link"),
    "tar: a hard link": Hostile(
        lambda: tar_of(member("a"), member("hard", kind=HARD, linkname="a")), "hard: is a link"
    ),
    "tar: a pipe": Hostile(lambda: tar_of(member("pipe", kind=PIPE)), "pipe: is not a regular file"),
    "tar: a device": Hostile(lambda: tar_of(member("null", kind=DEVICE)), "null: is not a regular file"),
    "tar: a NUL": Hostile(lambda: tar_of(member("a", pax_headers={"path": "a\0b"})), "NUL"),
    "tar: not UTF-8": Hostile(lambda: tar_of(member("b\udcffd"), format=tarfile.GNU_FORMAT), "not valid Unicode"),
    "tar: a huge header": Hostile(_huge_header, "header that is too large"),
    "tar: a negative size": Hostile(_negative_size, "negative"),
    "tar: cut off": Hostile(lambda: tar_of(member("a", bytes(range(256)) * 8))[:-40], "not a usable tar.gz"),
    "tar: gzip of no tar": Hostile(lambda: gzip.compress(b"no tar at all"), "not a usable tar.gz"),
    "zip: a link": Hostile(lambda: zip_of(zipped("link", b"/etc", stat.S_IFLNK | 0o777)), "link: is a link"),
    "zip: a device": Hostile(lambda: zip_of(zipped("null", b"", stat.S_IFCHR | 0o666)), "null: is not a regular file"),
    "zip: a NUL": Hostile(lambda: _both_changed(b"a-b", b"a\0b"), "NUL"),
    "zip: not UTF-8": Hostile(lambda: _both_changed(b"caf-", b"caf\xff"), "its name is not UTF-8"),
    "zip: not the UTF-8 it says": Hostile(
        lambda: zip_of(zipped("é")).replace("é".encode(), b"\xff\xff"), "name is not UTF-8"
    ),
    "zip: two names for one file": Hostile(_unlike_unicode_path, "'../evil' cannot be used"),
    "zip: a name unlike its header's": Hostile(
        lambda: _changed(zip_of(zipped("good")), b"good", b"evil"), "good: can't be unpacked"
    ),
    "zip: encrypted": Hostile(_encrypted, "one: is encrypted"),
    "zip: more than it says": Hostile(lambda: _directory_field(24, struct.pack("<I", 7)), "one: can't be unpacked"),
    "zip: less than it says": Hostile(lambda: _directory_field(24, struct.pack("<I", 900)), "one: "),
    "zip: other bytes": Hostile(lambda: _directory_field(16, b"\0\0\0\0"), "one: can't be unpacked: Bad CRC-32"),
    "zip: packed in another way": Hostile(
        lambda: zip_of(zipped("a", compress_type=zipfile.ZIP_LZMA)), "a: is packed by a method other than deflate"
    ),
    "zip: a header elsewhere": Hostile(lambda: _directory_field(42, b"\xff\xff\xff\x7f"), "one: can't be unpacked"),
    "zip: a huge directory": Hostile(_with_huge_directory, "directory is too large"),
    "zip: cut off": Hostile(lambda: zip_of(zipped("a"))[:-10], "not a usable zip"),
    "nothing": Hostile(lambda: b"", "neither a tar.gz nor a zip"),
    "nonsense": Hostile(lambda: b"nonsense", "neither a tar.gz nor a zip"),
}
"""One archive for each way to do harm, generated when asked for."""
