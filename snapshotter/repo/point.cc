#include "snapshotter/repo/point.h"

#include <charconv>
#include <utility>

#include "base/core/clock.h"
#include "base/core/id.h"
#include "base/data/json.h"
#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {
namespace {

constexpr std::uint8_t kManifest = 1;
constexpr std::uint8_t kVoid = 2;
constexpr std::size_t kMaxPieces = 4096;

bool IsSeriesCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

void AppendPlace(Bytes& to, const RecordPlace& place) {
  Append(to, place.pack.bytes);
  AppendVarint(to, place.epoch);
  AppendVarint(to, place.offset);
  AppendVarint(to, place.length);
}

RecordPlace ReadPlace(WireReader& reader) {
  RecordPlace place;
  reader.Fill(place.pack.bytes);
  place.epoch = static_cast<std::uint32_t>(reader.Varint(UINT32_MAX));
  place.offset = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
  place.length = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
  if (place.length <= kTagBytes || place.offset + place.length > kPackMaxBytes) reader.Fail();
  return place;
}

JsonObject Describe(const Point& point) {
  const PointInfo& info = point.info;
  JsonArray seen;
  for (const std::string& name : point.seen) seen.emplace_back(name);
  JsonObject json;
  json["series"] = info.series;
  json["snapshot"] = info.snapshot;
  json["attempt"] = info.attempt;
  json["cut"] = FormatRfc3339Micro(info.cut);
  json["sizeBytes"] = info.size_bytes;
  json["dataBytes"] = info.data_bytes;
  json["readBytes"] = info.read_bytes;
  json["changedBytes"] = info.changed_bytes;
  json["storedBytes"] = info.stored_bytes;
  json["uploadedBytes"] = info.uploaded_bytes;
  json["mode"] = ModeName(info.mode);
  json["modeReason"] = info.mode_reason;
  json["base"] = info.base.str();
  json["deviceIdentity"] = info.device_identity;
  json["attributes"] = info.attributes;
  json["session"] = point.session;
  json["seen"] = std::move(seen);
  json["alarm"] = point.alarm;
  return json;
}

Result<std::uint64_t> SizeIn(const Json& json, std::string_view name) {
  const Json* found = Find(json, name);
  if (found != nullptr && found->is_int64() && found->get_int64() >= 0) {
    return static_cast<std::uint64_t>(found->get_int64());
  }
  if (found != nullptr && found->is_uint64()) return found->get_uint64();
  return Error(Code::kDataLoss, "the point has no " + std::string(name));
}

Status ReadDescription(const Json& json, Point& point) {
  PointInfo& info = point.info;
  info.series = StringAt(json, "series");
  info.snapshot = StringAt(json, "snapshot");
  info.attempt = static_cast<int>(IntAt(json, "attempt"));
  info.cut = TRY(ParseRfc3339(StringAt(json, "cut")).In("cut"));
  info.size_bytes = TRY(SizeIn(json, "sizeBytes"));
  info.data_bytes = TRY(SizeIn(json, "dataBytes"));
  info.read_bytes = TRY(SizeIn(json, "readBytes"));
  info.changed_bytes = TRY(SizeIn(json, "changedBytes"));
  info.stored_bytes = TRY(SizeIn(json, "storedBytes"));
  info.uploaded_bytes = TRY(SizeIn(json, "uploadedBytes"));
  const std::string mode = StringAt(json, "mode");
  for (const ExportMode candidate :
       {ExportMode::kFull, ExportMode::kChanged, ExportMode::kReread}) {
    if (mode == ModeName(candidate)) info.mode = candidate;
  }
  info.mode_reason = StringAt(json, "modeReason");
  info.base = PointName(StringAt(json, "base"));
  info.device_identity = StringAt(json, "deviceIdentity");
  if (const Json* attributes = Find(json, "attributes")) info.attributes = *attributes;
  point.session = StringAt(json, "session");
  point.alarm = StringAt(json, "alarm");
  for (const Json& name : ArrayAt(json, "seen")) {
    if (name.is_string()) point.seen.emplace_back(name.get_string());
  }
  if (info.size_bytes > kMaxVolumeBytes) return Error(Code::kDataLoss, "its size is out of range");
  return {};
}

}  // namespace

std::string_view ModeName(ExportMode mode) {
  switch (mode) {
    case ExportMode::kFull:
      return "full";
    case ExportMode::kChanged:
      return "changed";
    case ExportMode::kReread:
      return "reread";
  }
  return "full";
}

Status CheckSeries(std::string_view series) {
  bool sane = !series.empty() && series.size() <= 200 && series.front() != '.';
  for (const char c : series) sane = sane && IsSeriesCharacter(c);
  if (sane) return {};
  return Error(Code::kInvalidArgument,
               "series \"" + std::string(series.substr(0, 210)) +
                   "\" is not one: 1 to 200 letters, digits, '.', '_' and '-', not starting with "
                   "'.', are accepted");
}

std::string PointKey(const PointName& name) { return "points/" + name.str(); }

std::string SeriesPrefix(const std::string& series) { return "points/" + series + "/"; }

PointName MakePointName(const std::string& series, const std::string& snapshot, int attempt) {
  return PointName(series + "/" + snapshot + "." + std::to_string(attempt));
}

Result<PointNameParts> ParsePointName(std::string_view name) {
  PointNameParts parts;
  const std::size_t slash = name.find('/');
  const std::size_t dot = name.rfind('.');
  if (slash != std::string_view::npos && dot != std::string_view::npos && dot > slash) {
    parts.series = name.substr(0, slash);
    parts.snapshot = name.substr(slash + 1, dot - slash - 1);
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + dot + 1, end, parts.attempt);
    if (parsed.ec == std::errc() && parsed.ptr == end && parts.attempt > 0 &&
        CheckSeries(parts.series).ok() && IsUlid(parts.snapshot) &&
        MakePointName(parts.series, parts.snapshot, parts.attempt).str() == name) {
      return parts;
    }
  }
  return Error(Code::kInvalidArgument, "\"" + std::string(name.substr(0, 300)) +
                                           "\" names no point: <series>/<26 characters>.<number> "
                                           "is accepted");
}

Result<Bytes> EncodePoint(const Point& point) {
  if (ToJson(point.info.attributes).size() > kAttributesMaxBytes) {
    return Error(Code::kInvalidArgument, "the attributes of a point are limited to 32 KiB");
  }
  Bytes payload;
  payload.push_back(kManifest);
  AppendSized(payload, AsBytes(ToJson(Describe(point))));
  payload.push_back(point.root.node ? 1 : 0);
  if (point.root.node) {
    AppendPlace(payload, point.root.node->place);
    payload.push_back(point.root.node->index);
    AppendVarint(payload, point.root.node->stored_blocks);
  }
  AppendVarint(payload, point.table_runs.size());
  for (const TableRun& run : point.table_runs) {
    AppendVarint(payload, run.size());
    for (const RecordPlace& place : run) AppendPlace(payload, place);
  }
  AppendSized(payload, point.inline_table);
  const std::size_t filling =
      payload.size() < kManifestMinBytes ? kManifestMinBytes - payload.size() : 0;
  AppendSized(payload, Bytes(filling, 0));
  return payload;
}

Bytes EncodeVoid(const Void& value) {
  JsonObject json;
  json["reason"] = value.reason;
  json["session"] = value.session;
  Bytes payload;
  payload.push_back(kVoid);
  AppendSized(payload, AsBytes(ToJson(json)));
  ASSERT(payload.size() + 128 < kManifestMinBytes);
  return payload;
}

Result<PointObject> ParsePoint(const PointName& name, ByteSpan payload) {
  const std::string where = "point " + name.str();
  const PointNameParts parts = TRY(ParsePointName(name.str()));
  WireReader reader(payload);
  const std::uint8_t type = reader.U8();
  const ByteSpan text = reader.Sized();
  if (!reader.ok() || (type != kManifest && type != kVoid)) {
    return Error(Code::kDataLoss, where + " is not well formed");
  }
  auto parsed = ParseJson(AsText(text));
  if (!parsed.ok()) return Error(Code::kDataLoss, where + ": " + parsed.error().message());
  const Json json = std::move(parsed).value();
  if (type == kVoid) return PointObject(Void{StringAt(json, "reason"), StringAt(json, "session")});

  Point point;
  auto described = ReadDescription(json, point);
  if (!described.ok()) return Error(Code::kDataLoss, where + ": " + described.error().message());
  point.info.name = name;
  point.root.size_bytes = point.info.size_bytes;
  if (reader.U8() != 0) {
    NodeRef ref;
    ref.place = ReadPlace(reader);
    ref.index = reader.U8();
    ref.stored_blocks = reader.Varint(BlocksOf(point.info.size_bytes));
    if (ref.stored_blocks == 0 || ref.index >= kMapRecordNodes) reader.Fail();
    point.root.node = ref;
  }
  point.table_runs.resize(reader.Count(1, kMaxTableRuns));
  for (TableRun& run : point.table_runs) {
    run.resize(reader.Count(19, kMaxPieces));
    for (RecordPlace& place : run) place = ReadPlace(reader);
  }
  const ByteSpan table = reader.Sized();
  point.inline_table.assign(table.begin(), table.end());
  reader.Sized();
  if (!reader.done()) return Error(Code::kDataLoss, where + " is not well formed");
  if (point.info.series != parts.series || point.info.snapshot != parts.snapshot ||
      point.info.attempt != parts.attempt) {
    return Error(
        Code::kDataLoss,
        where + " says it is " +
            MakePointName(point.info.series, point.info.snapshot, point.info.attempt).str());
  }
  return PointObject(std::move(point));
}

}  // namespace thinsnap::repo
