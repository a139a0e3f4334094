"""What archives, servers and disks must not do."""

import errno
import os
import shutil
import ssl
import tarfile
import threading
import urllib.error
import urllib.request
from collections import namedtuple
from datetime import UTC

import pytest
from archive_server import PUBLIC, Server, clip_bytes, key_of, member, put_k400, serving, table, tar_of

from vidbench.data.fetch import KineticsFetch, archives, fetch_from_archives, fetch_kinetics, kinetics
from vidbench.data.fetch.archives import Member, clips_in
from vidbench.data.fetch.http import Stream, _Redirects
from vidbench.data.fetch.manifest import Manifest
from vidbench.utils import UserError

KEYS = [key_of(0, number) for number in range(10)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_bytes(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def serve(clip):
    """Serve an archive of these members, all KEYS annotated; returns a KineticsFetch's options."""
    with serving() as server:

        def put(members, **how) -> Server:
            put_k400(server, {"part_0.tar.gz": tar_of(members, **how)}, [("zumba", key) for key in KEYS])
            return server

        yield put


def outcome_of(server, folder, **options):
    fetch = KineticsFetch("400", "val", folder, base_url=server.base, progress=False, **options)
    return fetch_from_archives(fetch)


def ok(folder) -> set[str]:
    return {key for key, row in Manifest(folder).rows.items() if row.status == "ok"}


def test_nothing_is_written_outside_of_the_folder(tmp_path, serve, clip):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    server = serve(
        [
            member(f"/{KEYS[0]}.mp4", clip),
            member(f"{tmp_path}/{KEYS[1]}.mp4", clip),
            member(f"../../{KEYS[2]}.mp4", clip),
            member(f"a/../../../{KEYS[2]}.mp4", clip),
            member(f"./{KEYS[3]}.mp4", type=tarfile.SYMTYPE, linkname=str(outside)),
            member(f"./{KEYS[3]}.mp4", type=tarfile.LNKTYPE, linkname=str(outside)),
            member(f"./{KEYS[4]}.mp4", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
            member(f"./{KEYS[5]}.mp4", type=tarfile.FIFOTYPE),
            member(f"{'very/' * 900}long/{KEYS[6]}.mp4", clip),
            member(f"./{'n' * 3000}.mp4", clip),
            member(f"./{KEYS[7]}.mp4\n", clip),
            member("./val.csv", b"label\n"),
            member("./manifest.csv", b"key\n"),
            member(f"./{KEYS[8]}.mp4", clip),
        ]
    )
    outcome = outcome_of(server, tmp_path / "v")
    assert ok(tmp_path / "v") == {KEYS[6], KEYS[8]} and outside.read_text() == "mine"
    assert outcome.got.refused == {"absolute path": 2, "path with ..": 2, "link": 2, "device or pipe": 2}
    reasons = {key: (Manifest(tmp_path / "v").rows[key].status, outcome.missing[key]) for key in KEYS[:6]}
    assert reasons == {
        KEYS[0]: ("failed", "refused: absolute path"), KEYS[1]: ("failed", "refused: absolute path"),
        KEYS[2]: ("failed", "refused: path with .."), KEYS[3]: ("failed", "refused: link"),
        KEYS[4]: ("failed", "refused: device or pipe"), KEYS[5]: ("failed", "refused: device or pipe"),
    }  # fmt: skip
    assert outcome.missing[KEYS[9]] == "in none of the archives"
    assert {path.name for path in tmp_path.iterdir()} == {"v", "outside.txt"}
    visible = {path.name for path in (tmp_path / "v").iterdir() if not path.name.startswith(".")}
    assert visible == {f"{KEYS[6]}.mp4", f"{KEYS[8]}.mp4", "val.csv", "manifest.csv", "missing.csv"}
    assert (tmp_path / "v" / "val.csv").read_text().startswith("label,youtube_id")
    assert "refused in archives: absolute path 2, device or pipe 2, link 2" in "\n".join(outcome.lines())
    asked = len(server.archives_asked())
    assert outcome_of(server, tmp_path / "v").missing == outcome.missing and len(server.archives_asked()) == asked


def test_a_clip_stands_behind_one_of_its_name_that_is_refused(tmp_path, serve, clip):
    server = serve([member(f"./{KEYS[0]}.mp4"), member(f"/{KEYS[0]}.mp4", clip), member(f"./{KEYS[0]}.mp4", clip)])
    outcome = outcome_of(server, tmp_path)
    assert ok(tmp_path) == {KEYS[0]} and not outcome.got.bad and outcome.got.refused.total() == 2


def test_a_name_that_comes_twice_counts_once_and_a_bad_one_is_replaced(tmp_path, serve, clip):
    server = serve(
        [
            member(f"a/{KEYS[0]}.mp4", clip),
            member(f"b/{KEYS[0]}.mp4", clip + b"x" * 600),
            member(f"a/{KEYS[1]}.mp4", b"no video"),
        ]
    )
    outcome = outcome_of(server, tmp_path)
    assert ok(tmp_path) == {KEYS[0]} and (tmp_path / f"{KEYS[0]}.mp4").read_bytes() == clip
    assert (
        outcome.got.bad.keys() == {KEYS[1]} and (tmp_path / ".rejected" / f"{KEYS[1]}.mp4").read_bytes() == b"no video"
    )
    server.put("400/val/part_0.tar.gz", tar_of([member(f"./{KEYS[1]}.mp4", clip)]))
    assert outcome_of(server, tmp_path).here == 1  # the archive was read, and what it has is known to be bad
    (tmp_path / ".archives" / "part_0.tar.gz.json").unlink()
    assert outcome_of(server, tmp_path, retry_failed=True).here == 2


def test_a_clip_of_another_length_is_bad(tmp_path, serve):
    short = clip_bytes(tmp_path / "short.mp4", num_frames=4)
    outcome = outcome_of(serve([member(f"./{KEYS[0]}.mp4", short)]), tmp_path / "v")
    assert outcome.got.bad == {KEYS[0]: "lasts 4.0 s instead of 10 s"} and outcome.here == 0


def test_sizes_and_headers_are_bounded(tmp_path, serve, clip, monkeypatch):
    monkeypatch.setattr(archives, "CLIP_BYTES", 50_000)
    server = serve([member(f"./{KEYS[0]}.mp4", bytes(60_000)), member(f"./{KEYS[1]}.mp4", clip)])
    outcome = outcome_of(server, tmp_path / "a")
    assert ok(tmp_path / "a") == {KEYS[1]} and outcome.got.refused == {"too large for a clip": 1}
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        bomb = [
            member(f"./{KEYS[0]}.mp4", clip),
            member("x", bytes(3 << 20), type=kind),
            member(f"./{KEYS[1]}.mp4", clip),
        ]
        outcome = outcome_of(serve(bomb), tmp_path / f"b{kind[0]}")
        assert ok(tmp_path / f"b{kind[0]}") == {KEYS[0]} and "a header of more than" in outcome.got.problems[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-3000],  # cut off
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :],
        lambda data: b"",
        lambda data: b"<html>not here</html>" * 100,
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_archive_is_one_line_and_never_whole(tmp_path, serve, clip, damage, zipped):
    many = [member(f"./{key}.mp4", clip + os.urandom(3000)) for key in KEYS]
    server = serve(many, zipped=zipped, end=True)
    served = server.files["/400/val/part_0.tar.gz"]
    served.data = damage(served.data) if zipped else damage(served.data[:-11000])
    outcome = outcome_of(server, tmp_path)
    if outcome.here + len(outcome.got.bad) < len(KEYS):
        assert len(outcome.got.problems) == 1 and not (tmp_path / ".archives" / "part_0.tar.gz.json").exists()
        with pytest.raises(UserError, match="what was fetched is kept"):
            outcome.check()


def test_a_damaged_header_is_no_end():
    data = tar_of([member(f"./{key}.mp4", b"12345") for key in KEYS[:3]], zipped=False)
    broken = data[:1024] + b"\xff" * 512 + data[1536:]

    class Bytes(Stream):
        def __init__(self, data):
            self.left = data

        def readinto(self, buffer):
            piece, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
            buffer[: len(piece)] = piece
            return len(piece)

        def close(self):
            pass

    assert [found.key for found in clips_in(Bytes(data))] == KEYS[:3]
    with pytest.raises(tarfile.ReadError, match="damaged"):
        list(clips_in(Bytes(broken)))


def test_labels_that_are_no_folder_names_make_no_folders(tmp_path, clip):
    odd = ["../evil", ".hidden", "a/b"]
    with serving() as server:
        server.put("700_2020/val/k700_2020_val_path.txt", f"{PUBLIC}700_2020/val/k700_val_001.tar.gz")
        server.put("700_2020/annotations/val.csv", table(list(zip(odd, KEYS, strict=False))))
        inside = [member(f".hidden/{KEYS[1]}.mp4", clip), member(f"x/a/b/{KEYS[2]}.mp4", clip)]
        server.put("700_2020/val/k700_val_001.tar.gz", tar_of(inside))
        folder = tmp_path / "v"
        fetch_kinetics("700-2020", "val", folder, num_videos=0, base_url=server.base, progress=False)
    assert {row.path for row in Manifest(folder).rows.values()} == {f"{KEYS[1]}.mp4", f"{KEYS[2]}.mp4"}
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_max_bytes_ends_it_with_what_came(tmp_path, serve, clip):
    server = serve([member(f"./{key}.mp4", clip + os.urandom(100_000)) for key in KEYS])
    outcome = outcome_of(server, tmp_path, max_bytes=350_000)
    assert 1 <= outcome.here < 10 and outcome.got.received_bytes == 350_000
    assert outcome.here == len(ok(tmp_path))
    with pytest.raises(UserError, match=r"stopped at --max-bytes: 350.0 kB were received; what was fetched is kept"):
        outcome.check()
    assert outcome_of(server, tmp_path).here == 10


def test_threads_together_receive_no_more_than_max_bytes(tmp_path, clip):
    with serving() as server:
        archives = {
            f"part_{part}.tar.gz": tar_of([member(f"./{key_of(part, 0)}.mp4", clip + os.urandom(200_000))])
            for part in range(4)
        }
        put_k400(server, archives, [("zumba", key_of(part, 0)) for part in range(4)])
        outcome = outcome_of(server, tmp_path, max_bytes=300_001, jobs=4)
    assert outcome.got.received_bytes <= 300_001 and str(outcome.error()).startswith("stopped at --max-bytes")


def test_max_bytes_that_bring_no_clip_say_what_helps(tmp_path, serve, clip):
    server = serve([member(f"./{key}.mp4", clip + os.urandom(100_000)) for key in KEYS])
    for _ in range(2):  # a stream is read from its beginning each time
        outcome = outcome_of(server, tmp_path / "a", max_bytes=50_000)
        assert (outcome.here, outcome.got.received_bytes) == (0, 50_000)
        with pytest.raises(UserError, match=r"no new clip was among them.*raise --max-bytes, or use --keep-archives"):
            outcome.check()
    size, calls = server.files["/400/val/part_0.tar.gz"].length, 0
    while outcome_of(server, tmp_path / "b", max_bytes=300_000, keep_archives=True).here < 10:
        calls += 1
        assert calls <= size // 300_000 + 1  # each call goes on where the last one stopped
    assert sum(sent for path, sent in server.sent.items() if path.endswith("gz")) >= size


def test_too_little_room_is_said_before_and_on_the_way(tmp_path, serve, clip, monkeypatch):
    server = serve([member(f"./{key}.mp4", clip) for key in KEYS])
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 14_000_000))
    with pytest.raises(UserError, match=r"14.0 MB are free in .*, 10 clips take about 15.1 MB: fetch fewer"):
        outcome_of(server, tmp_path)
    assert server.archives_asked() == []
    free = iter([20_000_000, 20_000_000, 20_000_000, 1000])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, next(free)))
    outcome = outcome_of(server, tmp_path)
    assert outcome.here == 2 == len(ok(tmp_path))
    with pytest.raises(UserError, match=r"1.0 kB are free in .* more are needed; what was fetched is kept"):
        outcome.check()


@pytest.mark.parametrize(("where", "name"), [(Member, "copy_to"), (Manifest, "add")])
def test_a_full_disk_ends_it_with_what_was_finished(tmp_path, serve, clip, monkeypatch, where, name):
    server = serve([member(f"./{key}.mp4", clip) for key in KEYS])
    does, count = getattr(where, name), []

    def full(self, *words):
        count.append(1)
        if len(count) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return does(self, *words)

    with monkeypatch.context() as patched:
        patched.setattr(where, name, full)
        outcome = outcome_of(server, tmp_path)
    assert outcome.here == 3 == len(ok(tmp_path))
    with pytest.raises(UserError, match=r"the disk of .* is full; what was fetched is kept"):
        outcome.check()
    assert list((tmp_path / ".incoming").iterdir()) == [tmp_path / ".incoming" / "all.lock"]
    assert outcome_of(server, tmp_path).here == 10
    assert ok(tmp_path) == {path.stem for path in tmp_path.glob("*.mp4")}


def test_a_disk_that_is_too_full_for_missing_csv_loses_no_counts(tmp_path, serve, clip, monkeypatch):
    server = serve([member(f"./{KEYS[0]}.mp4", clip)])

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kinetics, "write_missing", full)
    outcome = outcome_of(server, tmp_path)
    assert outcome.here == 1 and "1 of 10 clips are here" in outcome.lines()[0]
    with pytest.raises(UserError, match=r"the disk of .* is full"):
        outcome.check()


def test_a_folder_that_must_not_be_written_is_one_clear_line(tmp_path, serve, monkeypatch):
    server = serve([])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as the system answers, but for root too
    with pytest.raises(UserError, match=r"v must not be written: choose another --data-dir"):
        outcome_of(server, tmp_path / "v")
    assert server.asked == []


def test_a_bad_clip_behind_a_link_stays_where_it_is(tmp_path, serve, clip):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{KEYS[0]}.mp4").write_bytes(b"no video")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "linked").symlink_to(mine)
    outcome_of(serve([member(f"./{KEYS[1]}.mp4", clip)]), tmp_path / "v")
    assert (mine / f"{KEYS[0]}.mp4").read_bytes() == b"no video" and list(mine.iterdir()) == [mine / f"{KEYS[0]}.mp4"]
    assert Manifest(tmp_path / "v").rows[KEYS[0]].status == "bad"


def test_no_redirect_leads_from_https_to_http():
    asked = urllib.request.Request("https://a.example/x")
    with pytest.raises(urllib.error.URLError, match="from https to http"):
        _Redirects().redirect_request(asked, None, 302, "Found", {}, "http://a.example/x")
    assert _Redirects().redirect_request(asked, None, 302, "Found", {}, "https://b.example/x")
    for plain in (asked, urllib.request.Request("http://a.example/x")):
        with pytest.raises(urllib.error.HTTPError, match=r"from https? to ftp"):
            _Redirects().redirect_request(plain, None, 302, "Found", {}, "ftp://a.example/x")


def test_a_certificate_that_nobody_signed_is_refused(tmp_path):
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "both.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    base = server.base.replace("http:", "https:").replace("127.0.0.1", "localhost")
    with pytest.raises(UserError, match=r"cannot be reached: .*CERTIFICATE_VERIFY_FAILED"):
        fetch_kinetics("400", "val", tmp_path / "v", num_videos=1, base_url=base)
    server.shutdown()
    server.server_close()
    assert server.asked == []


def self_signed(path):
    """A key and a certificate for localhost, signed by itself."""
    pytest.importorskip("cryptography")
    from datetime import datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    signed = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form) + signed)
    return path
