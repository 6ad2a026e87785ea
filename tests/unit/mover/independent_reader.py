"""Restores a point of a repository in a folder, written from docs/format.md alone and sharing no code with the program:
if this reads it, the document is right. Usage: independent_reader.py FOLDER POINT OUTPUT; THINSNAP_PASSPHRASE if sealed."""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BLOCK = 65536


def hkdf(secret, salt, info):
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def argon2id(passphrase, salt, passes, memory, lanes):
    library = ctypes.CDLL(ctypes.util.find_library("argon2") or "libargon2.so.1")
    key = ctypes.create_string_buffer(32)
    answer = library.argon2id_hash_raw(
        ctypes.c_uint32(passes), ctypes.c_uint32(memory), ctypes.c_uint32(lanes), passphrase,
        ctypes.c_size_t(len(passphrase)), salt, ctypes.c_size_t(len(salt)), key, ctypes.c_size_t(32))
    assert answer == 0
    return key.raw


def zstd(frame, size):
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    if size is None:
        size = library.ZSTD_getFrameContentSize(frame, ctypes.c_size_t(len(frame)))
    out = ctypes.create_string_buffer(size)
    got = library.ZSTD_decompress(out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame)))
    assert got == size
    return out.raw


def decode_record(payload, size=None):
    if payload[0] == 0:
        return payload[1:]
    assert payload[0] == 1
    return zstd(payload[1:], size)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.take(1)[0]

    def u64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def sized(self):
        return self.take(self.varint())


class Repository:
    def __init__(self, folder, passphrase):
        self.folder = folder
        about = json.loads(self.read("repo.json"))
        assert about["format"] == 1
        self.id, self.sealed = about["id"], about["suite"] == "sealed"
        if not self.sealed:
            self.master = hkdf(self.id.encode(), b"thinsnap plain", b"master")
            self.fingerprint_key = hkdf(self.id.encode(), b"thinsnap plain", b"fingerprint")
            return
        slot = json.loads(self.read("keys/" + about["slot"]))
        wrapping = argon2id(passphrase, base64.b64decode(slot["salt"]), slot["passes"], slot["memoryKiB"], slot["lanes"])
        binding = "thinsnap slot\n%s\n%s\nargon2id\n%d\n%d\n%d\n%d\n" % (
            self.id, about["slot"], slot["memoryKiB"], slot["passes"], slot["lanes"], slot["epoch"])
        keys = AESGCM(wrapping).decrypt(bytes(12), base64.b64decode(slot["wrapped"]), binding.encode())
        self.master, self.fingerprint_key = keys[:32], keys[32:]

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def open(self, key, nonce, aad, sealed):
        if self.sealed:
            return AESGCM(key).decrypt(struct.pack("<QI", nonce, 0), sealed, aad)
        body, tag = sealed[:-16], sealed[-16:]
        assert hashlib.sha256(key + struct.pack("<QQ", nonce, len(aad)) + aad + body).digest()[:16] == tag
        return body

    def object(self, name):
        data = self.read(name)
        assert data[:8] == b"tsnobj01" and data[8] == (1 if self.sealed else 0)
        salt = data[13:45]
        return self.open(hkdf(self.master, salt, b"thinsnap object"), 0, self.id.encode() + b"\0" + name.encode(), data[45:-4])

    def record(self, kind, place):
        pack, _, offset, length = place
        name = "packs/%s/%s/%s" % (kind, pack.hex()[:2], pack.hex())
        sealed = self.read(name)[offset:offset + length]
        aad = self.id.encode() + b"\0" + struct.pack("<BII", 1 if kind == "data" else 2, offset, length)
        return self.open(hkdf(self.master, pack, b"thinsnap %s pack" % kind.encode()), offset, aad, sealed)

    def node(self, place, index):
        record = Reader(decode_record(self.record("map", place)))
        nodes = [record.sized() for _ in range(record.u8())]
        return Reader(nodes[index])

    def walk(self, place, index, level, first, write):
        node = self.node(place, index)
        assert (node.u8(), node.varint()) == (level, first)
        node.varint()
        packs = [(node.take(16), node.varint()) for _ in range(node.varint())]

        def read_place():
            pack, epoch = packs[node.varint()]
            return pack, epoch, node.varint(), node.varint()

        if level > 0:
            present = node.u64()
            for i in range(64):
                if present >> i & 1:
                    place, index, _ = read_place(), node.u8(), node.varint()
                    self.walk(place, index, level - 1, first + i * 64 ** level, write)
            return
        extents = [(node.take(4), read_place()) for _ in range(node.varint())]
        for (position, count, record_first, record_blocks), place in extents:
            blocks = decode_record(self.record("data", place), record_blocks * BLOCK)
            for i in range(count):
                block = blocks[(record_first + i) * BLOCK:][:BLOCK]
                assert hmac.new(self.fingerprint_key, block, hashlib.sha256).digest()[:16] == node.take(16)
                write(first + position + i, block)

    def restore(self, name, output):
        point = Reader(self.object("points/" + name))
        assert point.u8() == 1
        about = json.loads(point.sized())
        size = about["sizeBytes"]
        image = bytearray(size)

        def write(block, data):
            image[block * BLOCK:min(size, (block + 1) * BLOCK)] = data[:max(0, size - block * BLOCK)]

        if point.u8():
            place = (point.take(16), point.varint(), point.varint(), point.varint())
            level = 0
            while 64 ** (level + 1) * BLOCK < size:
                level += 1
            self.walk(place, point.u8(), level, 0, write)
        with open(output, "wb") as file:
            file.write(image)


if __name__ == "__main__":
    Repository(sys.argv[1], os.environ.get("THINSNAP_PASSPHRASE", "").encode()).restore(sys.argv[2], sys.argv[3])
