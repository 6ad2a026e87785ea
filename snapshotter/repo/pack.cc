#include "snapshotter/repo/pack.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {
namespace {

constexpr std::string_view kTailMagic = "tsnpack1";
// Magic, id, kind, suite, two zeros, epoch, trailer offset and length, stripes, CRC.
constexpr std::size_t kTailBytes = 8 + 16 + 4 + 4 + 4 + 4 + 4 + 4;

PackCipher CipherFor(const Keyring& keyring, PackKind kind, const PackId& id) {
  auto cipher = keyring.ForPack(kind, id, keyring.epoch());
  ASSERT(cipher.ok());
  return std::move(cipher).value();
}

FinishedPack Fresh(const Keyring& keyring, PackKind kind, Random& random, Bytes buffer) {
  FinishedPack pack;
  pack.id = PackId::Draw(random);
  pack.kind = kind;
  pack.epoch = keyring.epoch();
  pack.buffer = std::move(buffer);
  return pack;
}

std::uint32_t StripesOf(std::size_t bytes) {
  return static_cast<std::uint32_t>((bytes + kStripeBytes - 1) / kStripeBytes);
}

Error Damaged(const std::string& name, const std::string& what) {
  return Error(Code::kDataLoss, "pack " + name + " is damaged: " + what);
}

}  // namespace

PackBuilder::PackBuilder(const Keyring& keyring, PackKind kind, Random& random, Bytes buffer)
    : suite_(keyring.suite()),
      pack_(Fresh(keyring, kind, random, std::move(buffer))),
      cipher_(CipherFor(keyring, kind, pack_.id)) {}

bool PackBuilder::HasRoom(std::size_t payload_bytes, std::size_t units) const {
  if (empty()) return true;
  return pack_.size + payload_bytes + kTagBytes <= kPackTargetBytes &&
         pack_.units + units <= kPackMaxUnits;
}

std::uint8_t* PackBuilder::Grow(std::size_t bytes) {
  const std::size_t needed = pack_.size + bytes;
  ASSERT(needed <= kPackMaxBytes);
  if (pack_.buffer.size() < needed) {
    const std::size_t generous = std::max<std::size_t>(pack_.buffer.size() * 2, 256 * kKiB);
    pack_.buffer.resize(std::max(needed, std::min<std::size_t>(generous, kPackTargetBytes)));
  }
  std::uint8_t* place = pack_.buffer.data() + pack_.size;
  pack_.size = static_cast<std::uint32_t>(needed);
  return place;
}

RecordPlace PackBuilder::Add(SealKind kind, ByteSpan payload) {
  RecordPlace place;
  place.pack = pack_.id;
  place.epoch = pack_.epoch;
  place.offset = pack_.size;
  place.length = static_cast<std::uint32_t>(payload.size() + kTagBytes);
  std::uint8_t* to = Grow(place.length);
  cipher_.Seal(kind, place.offset, payload, {to, place.length});
  AppendVarint(trailer_, place.length);
  ++record_count_;
  return place;
}

RecordPlace PackBuilder::AddBlocks(ByteSpan payload, std::uint64_t first_block,
                                   std::span<const Fingerprint> fingerprints) {
  ASSERT(pack_.kind == PackKind::kData);
  ASSERT(!fingerprints.empty() && fingerprints.size() <= kRecordBlocks);
  if (empty()) pack_.first_block = first_block;
  ASSERT(first_block >= pack_.last_block);
  pack_.last_block = first_block + fingerprints.size() - 1;
  const RecordPlace place = Add(SealKind::kDataRecord, payload);
  AppendVarint(trailer_, first_block);
  trailer_.push_back(static_cast<std::uint8_t>(fingerprints.size()));
  for (const Fingerprint& fingerprint : fingerprints) Append(trailer_, fingerprint);
  pack_.units += static_cast<std::uint32_t>(fingerprints.size());
  return place;
}

RecordPlace PackBuilder::AddNodes(ByteSpan payload, std::span<const NodeHome> homes) {
  ASSERT(pack_.kind == PackKind::kMap);
  ASSERT(!homes.empty() && homes.size() <= kMapRecordNodes);
  const RecordPlace place = Add(SealKind::kMapRecord, payload);
  trailer_.push_back(static_cast<std::uint8_t>(homes.size()));
  for (const NodeHome& home : homes) {
    trailer_.push_back(static_cast<std::uint8_t>(home.level));
    AppendVarint(trailer_, home.first_block);
  }
  pack_.units += static_cast<std::uint32_t>(homes.size());
  return place;
}

RecordPlace PackBuilder::AddTablePiece(ByteSpan payload) {
  ASSERT(pack_.kind == PackKind::kMap);
  const RecordPlace place = Add(SealKind::kMapRecord, payload);
  trailer_.push_back(0);
  return place;
}

FinishedPack PackBuilder::Finish() && {
  ASSERT(!empty());
  Bytes plain;
  plain.push_back(static_cast<std::uint8_t>(pack_.kind));
  AppendVarint(plain, record_count_);
  Append(plain, trailer_);
  pack_.trailer_offset = pack_.size;
  const std::size_t trailer_length = plain.size() + kTagBytes;
  pack_.trailer_length = static_cast<std::uint32_t>(trailer_length);
  std::uint8_t* to = Grow(trailer_length);
  cipher_.Seal(SealKind::kTrailer, pack_.trailer_offset, plain, {to, trailer_length});

  Bytes tail;
  const ByteSpan body = pack_.object();
  const std::uint32_t stripes = StripesOf(body.size());
  for (std::uint32_t i = 0; i < stripes; ++i) {
    const std::size_t start = std::size_t{i} * kStripeBytes;
    AppendLe(tail,
             Crc32c(body.subspan(start, std::min<std::size_t>(kStripeBytes, body.size() - start))));
  }
  Append(tail, AsBytes(kTailMagic));
  Append(tail, pack_.id.bytes);
  tail.push_back(static_cast<std::uint8_t>(pack_.kind));
  tail.push_back(suite_ == Suite::kSealed ? 1 : 0);
  tail.push_back(0);
  tail.push_back(0);
  AppendLe(tail, pack_.epoch);
  AppendLe(tail, pack_.trailer_offset);
  AppendLe(tail, static_cast<std::uint32_t>(trailer_length));
  AppendLe(tail, stripes);
  AppendLe(tail, Crc32c(tail));
  std::memcpy(Grow(tail.size()), tail.data(), tail.size());
  return std::move(pack_);
}

Result<PackTail> ParsePackTail(const std::string& name, ByteSpan end, std::uint64_t object_bytes) {
  if (end.size() < kTailBytes) return Damaged(name, "it is shorter than a pack's tail");
  if (object_bytes > kPackMaxBytes) return Damaged(name, "it is larger than any pack");
  WireReader reader(end.last(kTailBytes));
  PackTail tail;
  const ByteSpan magic = reader.Take(kTailMagic.size());
  reader.Fill(tail.id.bytes);
  const std::uint8_t kind = reader.U8();
  const std::uint8_t suite = reader.U8();
  const std::uint8_t zero = reader.U8() | reader.U8();
  tail.epoch = reader.U32();
  tail.trailer_offset = reader.U32();
  tail.trailer_length = reader.U32();
  tail.stripes = reader.U32();
  const std::uint32_t crc = reader.U32();
  if (AsText(magic) != kTailMagic) return Damaged(name, "it does not end with a pack's tail");
  const std::uint64_t body = std::uint64_t{tail.trailer_offset} + tail.trailer_length;
  if (body > object_bytes || tail.stripes != StripesOf(static_cast<std::size_t>(body)) ||
      body + 4 * std::uint64_t{tail.stripes} + kTailBytes != object_bytes) {
    return Damaged(name, "its tail speaks of another size");
  }
  const std::size_t checked = 4 * std::size_t{tail.stripes} + kTailBytes;
  if (end.size() < checked) return Damaged(name, "its stripe table is cut");
  if (Crc32c(end.last(checked).first(checked - 4)) != crc) {
    return Damaged(name, "the checksum of its tail does not fit");
  }
  if (kind < 1 || kind > 2 || suite > 1 || zero != 0) {
    return Damaged(name, "its tail holds values that no version of the format has");
  }
  tail.kind = static_cast<PackKind>(kind);
  tail.suite = suite == 1 ? Suite::kSealed : Suite::kPlain;
  if (tail.trailer_length < kTagBytes) return Damaged(name, "its trailer is too short");
  return tail;
}

Result<PackTail> CheckPack(const std::string& name, ByteSpan object) {
  const PackTail tail = TRY(ParsePackTail(name, object, object.size()));
  if (PackKey(tail.kind, tail.id) != name) return Damaged(name, "it says it is " + tail.id.Hex());
  const ByteSpan body = object.first(std::size_t{tail.trailer_offset} + tail.trailer_length);
  const ByteSpan sums = object.subspan(body.size(), 4 * std::size_t{tail.stripes});
  for (std::uint32_t i = 0; i < tail.stripes; ++i) {
    const std::size_t start = std::size_t{i} * kStripeBytes;
    const ByteSpan stripe =
        body.subspan(start, std::min<std::size_t>(kStripeBytes, body.size() - start));
    if (Crc32c(stripe) != LoadLe<std::uint32_t>(sums.data() + 4 * std::size_t{i})) {
      return Damaged(name, "the checksum of stripe " + std::to_string(i) + " (bytes from " +
                               std::to_string(start) + ") does not fit");
    }
  }
  return tail;
}

Result<PackTrailer> ParsePackTrailer(PackKind kind, std::uint32_t trailer_offset, ByteSpan plain) {
  WireReader reader(plain);
  PackTrailer trailer;
  if (reader.U8() != static_cast<std::uint8_t>(kind)) reader.Fail();
  const std::uint64_t count = reader.Count(3, std::uint64_t{kPackMaxUnits} * 2);
  trailer.records.reserve(count);
  std::uint64_t offset = 0;
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    TrailerRecord record;
    record.offset = static_cast<std::uint32_t>(offset);
    record.length = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
    if (record.length <= kTagBytes) reader.Fail();
    offset += record.length;
    if (offset > trailer_offset) reader.Fail();
    if (kind == PackKind::kData) {
      record.first_block = reader.Varint(kMaxVolumeBytes / kBlockBytes);
      record.fingerprints.resize(reader.U8());
      if (record.fingerprints.empty() || record.fingerprints.size() > kRecordBlocks) reader.Fail();
      for (Fingerprint& fingerprint : record.fingerprints) reader.Fill(fingerprint);
      trailer.units += static_cast<std::uint32_t>(record.fingerprints.size());
    } else {
      record.nodes.resize(std::min<std::size_t>(reader.U8(), kMapRecordNodes));
      for (NodeHome& node : record.nodes) {
        node.level = reader.U8();
        node.first_block = reader.Varint(kMaxVolumeBytes / kBlockBytes);
        if (node.level > kMaxLevel) reader.Fail();
      }
      trailer.units += static_cast<std::uint32_t>(record.nodes.size());
    }
    trailer.records.push_back(std::move(record));
  }
  if (!reader.done() || offset != trailer_offset) {
    return Error(Code::kDataLoss, "the pack's trailer is not well formed");
  }
  return trailer;
}

Result<PackTrailer> OpenPackTrailer(const Keyring& keyring, PackKind kind, const PackId& id,
                                    std::uint32_t epoch, std::uint32_t trailer_offset,
                                    ByteSpan sealed) {
  PackCipher cipher = TRY(keyring.ForPack(kind, id, epoch));
  const std::string name = PackKey(kind, id);
  if (sealed.size() < kTagBytes) return Damaged(name, "its trailer is too short");
  Bytes plain(sealed.size() - kTagBytes);
  if (!cipher.Open(SealKind::kTrailer, trailer_offset, sealed, plain)) {
    return Damaged(name, "its trailer does not open under this repository's key");
  }
  return ParsePackTrailer(kind, trailer_offset, plain).In(name);
}

}  // namespace thinsnap::repo
