# SPDX-License-Identifier: BSD-2-Clause
"""The guest's material: archives are valid and repeatable, half downloads heal, kernels are the package's bytes."""
import hashlib
import json
import subprocess

import pytest
from umbra import guest
from umbra.errors import Lacking


def test_cpio_is_read_by_cpio_and_repeatable(tmp_path):
    entries = [("a", 0o040755, b""), ("a/file", 0o100644, b"12345"), ("a/link", 0o120777, b"file")]
    archive = guest.cpio(entries)
    assert archive == guest.cpio(entries) and len(archive) % 512 == 0
    names = []
    position = 0
    while True:
        fields = [int(archive[position + 6 + 8 * i:position + 14 + 8 * i], 16) for i in range(13)]
        start = position + 110
        name = archive[start:start + fields[11] - 1].decode()
        data = (start + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            break
        names.append((name, fields[1], archive[data:data + fields[6]]))
        position = (data + fields[6] + 3) & ~3
    assert names == entries


def test_kernel_is_the_package_byte_for_byte(tmp_path):
    image = guest.kernel()
    known = json.loads((image.parent / "package.json").read_text())
    file, fields = guest.Apt().download(known["package"])
    assert fields["Version"] == known["version"]
    subprocess.run("dpkg-deb --fsys-tarfile %s | tar -x -C %s ./boot/%s" % (file, tmp_path, image.name), shell=True,
                   check=True)
    assert (tmp_path / "boot" / image.name).read_bytes() == image.read_bytes()


def test_a_damaged_file_heals(monkeypatch, tmp_path):
    image = guest.kernel()
    monkeypatch.setattr(guest, "GUEST", tmp_path)
    folder = tmp_path / "amd64"
    folder.mkdir()
    (folder / image.name).write_bytes(image.read_bytes()[:1000])
    (folder / "package.json").write_bytes((image.parent / "package.json").read_bytes())
    assert hashlib.sha256(guest.kernel().read_bytes()).digest() == hashlib.sha256(image.read_bytes()).digest()


def test_half_a_package_is_downloaded_again(monkeypatch, tmp_path):
    monkeypatch.setattr(guest, "CACHE", tmp_path)
    file, _ = guest.Apt().download("busybox-static")
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    (tmp_path / "part-left").mkdir()
    file, _ = guest.Apt().download("busybox-static")
    assert file.read_bytes() == whole


def test_private_lists_serve_where_the_hosts_know_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(guest, "CACHE", tmp_path)
    asked = []
    real = guest.Apt.record

    def record(self, package):
        asked.append(bool(self.options))
        return real(self, package) if self.options else None
    monkeypatch.setattr(guest.Apt, "record", record)
    file, _ = guest.Apt().download("busybox-static")
    assert asked == [False, True] and file.stat().st_size > 100000


def test_an_unknown_package_is_a_clear_line(monkeypatch):
    monkeypatch.setattr(guest.Apt, "use_private_lists", lambda self: None)
    with pytest.raises(Lacking, match="no Debian package no-such-package in reach; give --kernel and --initrd"):
        guest.Apt().find("no-such-package")
