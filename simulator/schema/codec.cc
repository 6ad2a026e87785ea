#include "simulator/schema/codec.h"

#include <boost/json/basic_parser_impl.hpp>
#include <set>
#include <utility>

#include "base/data/yaml.h"
#include "simulator/schema/autoscaling.h"
#include "simulator/schema/builtin_codec.h"
#include "simulator/schema/custom.h"
#include "simulator/schema/defaults.h"
#include "simulator/schema/protobuf.h"

namespace thinsnap::schema {
namespace {

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

ApiError Unhandled(const Kind& kind, const std::string& found_kind,
                   const std::string& found_version, const std::string& why) {
  return ApiError::BadRequest(found_kind + " in version \"" + found_version +
                              "\" cannot be handled as a " + kind.kind + ": " + why);
}

std::string VersionOf(const std::string& api_version) {
  const auto slash = api_version.rfind('/');
  return slash == std::string::npos ? api_version : api_version.substr(slash + 1);
}

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

// Collects the paths of members that an object has twice.
class DuplicateHandler {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using Failure = boost::json::error_code;
  using Text = boost::json::string_view;

  std::vector<std::string> found;

  bool on_document_begin(Failure&) { return true; }
  bool on_document_end(Failure&) { return true; }
  bool on_object_begin(Failure&) {
    levels_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, Failure&) {
    levels_.pop_back();
    return Value();
  }
  bool on_array_begin(Failure&) {
    levels_.emplace_back();
    levels_.back().array = true;
    return true;
  }
  bool on_array_end(std::size_t, Failure&) {
    levels_.pop_back();
    return Value();
  }
  bool on_key_part(Text text, std::size_t, Failure&) {
    key_.append(text.data(), text.size());
    return true;
  }
  bool on_key(Text text, std::size_t, Failure&) {
    key_.append(text.data(), text.size());
    Level& level = levels_.back();
    level.key = std::exchange(key_, "");
    if (!level.keys.insert(level.key).second) found.push_back("duplicate field " + Quoted(Path()));
    return true;
  }
  bool on_string_part(Text, std::size_t, Failure&) { return true; }
  bool on_string(Text, std::size_t, Failure&) { return Value(); }
  bool on_number_part(Text, Failure&) { return true; }
  bool on_int64(std::int64_t, Text, Failure&) { return Value(); }
  bool on_uint64(std::uint64_t, Text, Failure&) { return Value(); }
  bool on_double(double, Text, Failure&) { return Value(); }
  bool on_bool(bool, Failure&) { return Value(); }
  bool on_null(Failure&) { return Value(); }
  bool on_comment_part(Text, Failure&) { return true; }
  bool on_comment(Text, Failure&) { return true; }

 private:
  struct Level {
    bool array = false;
    std::size_t index = 0;
    std::string key;
    std::set<std::string> keys;
  };

  bool Value() {
    if (!levels_.empty() && levels_.back().array) ++levels_.back().index;
    return true;
  }

  std::string Path() const {
    std::string path;
    for (const Level& level : levels_) {
      if (level.array) {
        path += "[" + std::to_string(level.index) + "]";
      } else {
        if (!path.empty()) path += '.';
        path += level.key;
      }
    }
    return path;
  }

  std::vector<Level> levels_;
  std::string key_;
};

// apiVersion and kind: filled in, or refused when they are another's.
ApiStatus CheckType(const Kind& kind, const KindVersion& version, JsonObject& object) {
  const std::string wanted = kind.api_version(version.version);
  const auto text = [&](const char* name) {
    const Json* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
  };
  const std::string api_version = text("apiVersion"), its_kind = text("kind");
  if (!its_kind.empty() && its_kind != kind.kind) {
    return Unhandled(kind, its_kind, VersionOf(api_version),
                     "the kind is " + its_kind + ", and " + kind.kind + " is expected here");
  }
  if (!api_version.empty() && api_version != wanted) {
    return Unhandled(kind, kind.kind, VersionOf(api_version),
                     "apiVersion is " + api_version + ", and " + wanted + " is expected here");
  }
  object["apiVersion"] = wanted;
  object["kind"] = kind.kind;
  return {};
}

ApiResult<Decoded> Finish(const Kind& kind, const KindVersion& version, Json object,
                          const std::vector<std::string>& unknown,
                          std::vector<std::string> duplicates, FieldValidation validation) {
  Decoded decoded{std::move(object), std::move(duplicates)};
  for (const std::string& path : unknown)
    decoded.warnings.push_back("unknown field " + Quoted(path));
  if (validation == FieldValidation::kIgnore) decoded.warnings.clear();
  if (validation == FieldValidation::kStrict && !decoded.warnings.empty()) {
    std::string list;
    for (const std::string& warning : decoded.warnings)
      list += (list.empty() ? "" : ", ") + warning;
    return Unhandled(kind, kind.kind, version.version, "strict decoding error: " + list);
  }
  return decoded;
}

ApiResult<Json> ParseBody(std::string_view body, BodyFormat format, const std::string& what,
                          std::vector<std::string>* duplicates) {
  const auto refuse = [&](const std::string& why) {
    return ApiError::BadRequest("the object provided is unrecognized (must be of type " + what +
                                "): couldn't get version/kind; " + why);
  };
  if (format == BodyFormat::kYaml) {
    auto value = ParseYaml(body);
    if (!value.ok()) return refuse("yaml parse error: " + value.error().message());
    return std::move(*value);
  }
  if (body.empty()) return refuse("json parse error: the body is empty");
  auto value = ParseJson(body);
  if (!value.ok()) return refuse("json parse error: " + value.error().message());
  if (duplicates != nullptr) *duplicates = FindDuplicates(body);
  return std::move(*value);
}

}  // namespace

std::vector<std::string> FindDuplicates(std::string_view json) {
  boost::json::basic_parser<DuplicateHandler> parser{boost::json::parse_options()};
  boost::json::error_code failure;
  parser.write_some(false, json.data(), json.size(), failure);
  return std::move(parser.handler().found);
}

ApiResult<Decoded> DecodeValue(const Kind& kind, const KindVersion& version, Json value,
                               FieldValidation validation, std::vector<std::string> duplicates) {
  if (!value.is_object()) {
    return Unhandled(kind, kind.kind, version.version, "an object is expected");
  }
  TRY(CheckType(kind, version, value.get_object()));
  std::vector<std::string> unknown;
  if (!kind.custom) {
    auto converted = ConvertBuiltin(*version.schema, std::move(value), &unknown);
    if (!converted.ok())
      return Unhandled(kind, kind.kind, version.version, converted.error().message());
    return Finish(kind, version, std::move(*converted), unknown, std::move(duplicates), validation);
  }
  auto& members = value.get_object();
  Json metadata =
      members.contains("metadata") ? std::move(members["metadata"]) : Json(JsonObject());
  if (metadata.is_null()) metadata = JsonObject();
  if (!metadata.is_object())
    return Unhandled(kind, kind.kind, version.version, "metadata is not an object");
  std::vector<std::string> unknown_metadata;
  auto converted = ConvertBuiltin(*ObjectMetaSchema(), std::move(metadata), &unknown_metadata);
  if (!converted.ok()) {
    return Unhandled(kind, kind.kind, version.version, converted.error().In("metadata").message());
  }
  members["metadata"] = std::move(*converted);
  for (const std::string& path : unknown_metadata) unknown.push_back("metadata." + path);
  Prune(*version.schema, value, &unknown);
  return Finish(kind, version, std::move(value), unknown, std::move(duplicates), validation);
}

ApiResult<Decoded> DecodeObject(const Kind& kind, const KindVersion& version, std::string_view body,
                                BodyFormat format, FieldValidation validation) {
  if (format != BodyFormat::kProtobuf) {
    std::vector<std::string> duplicates;
    Json value = TRY(ParseBody(body, format, kind.kind, &duplicates));
    return DecodeValue(kind, version, std::move(value), validation, std::move(duplicates));
  }
  if (kind.custom) return ApiError::UnsupportedMediaType({"application/json", "application/yaml"});
  const auto envelope = ParseEnvelope(body);
  if (!envelope.ok()) return ApiError::BadRequest(envelope.error().message());
  auto value = DecodeMessageBytes(*version.schema, envelope->raw);
  if (!value.ok()) return ApiError::BadRequest(value.error().message());
  if (!value->is_object())
    return ApiError::BadRequest(std::string(kProtobuf) + ": an object is expected");
  if (!envelope->api_version.empty()) value->get_object()["apiVersion"] = envelope->api_version;
  if (!envelope->kind.empty()) value->get_object()["kind"] = envelope->kind;
  return DecodeValue(kind, version, std::move(*value), validation);
}

ApiResult<Json> DecodeMessage(std::string_view message, std::string_view body, BodyFormat format) {
  const Schema* schema = BuiltinSchema(message);
  ASSERT(schema != nullptr);
  if (body.empty()) return Json(JsonObject());
  Json value;
  if (format == BodyFormat::kProtobuf) {
    const auto envelope = ParseEnvelope(body);
    if (!envelope.ok()) return ApiError::BadRequest(envelope.error().message());
    auto decoded = DecodeMessageBytes(*schema, envelope->raw);
    if (!decoded.ok()) return ApiError::BadRequest(decoded.error().message());
    value = std::move(*decoded);
  } else {
    value = TRY(ParseBody(body, format, schema->type_name, nullptr));
  }
  if (!value.is_object())
    return ApiError::BadRequest(schema->type_name + ": an object is expected");
  // What the type does not list may still be there: the type's own name.
  JsonObject type;
  for (const char* name : {"apiVersion", "kind"}) {
    if (const Json* given = value.get_object().if_contains(name)) type[name] = *given;
  }
  auto converted = ConvertBuiltin(*schema, std::move(value), nullptr);
  if (!converted.ok())
    return ApiError::BadRequest(schema->type_name + ": " + converted.error().message());
  for (auto& member : type) converted->as_object()[member.key()] = std::move(member.value());
  return std::move(*converted);
}

ApiResult<Json> DecodePatch(std::string_view body, BodyFormat format,
                            std::vector<std::string>* duplicates) {
  auto value = format == BodyFormat::kYaml ? ParseYaml(body) : ParseJson(body);
  if (!value.ok()) return ApiError::BadRequest("error decoding patch: " + value.error().message());
  if (duplicates != nullptr && format == BodyFormat::kJson) *duplicates = FindDuplicates(body);
  return std::move(*value);
}

namespace {

// Members of core/v1 Events and what they are called in events.k8s.io/v1.
constexpr std::pair<const char*, const char*> kEventMembers[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

Json RenameEventMembers(Json event, bool to_core) {
  if (!event.is_object()) return event;
  JsonObject out;
  for (auto& member : event.get_object()) {
    std::string_view name = member.key();
    for (const auto& [core, other] : kEventMembers) {
      if (name == (to_core ? other : core)) {
        name = to_core ? core : other;
        break;
      }
    }
    out[name] = std::move(member.value());
  }
  return out;
}

}  // namespace

Json ConvertObject(const Kind& from, const Kind& to, std::string_view to_version, Json object) {
  if (from.kind == "Event" && !from.custom && from.group != to.group) {
    object = RenameEventMembers(std::move(object), to.group.empty());
  }
  if (to.kind == "HorizontalPodAutoscaler" && !to.custom) ConvertAutoscaler(to_version, object);
  if (object.is_object()) object.get_object()["apiVersion"] = to.api_version(to_version);
  return object;
}

void ApplyDefaults(const Kind& kind, const KindVersion& version, Json& object) {
  if (kind.custom) {
    DefaultBySchema(*version.schema, object);
  } else {
    DefaultBuiltin(kind, version, object);
  }
}

}  // namespace thinsnap::schema
