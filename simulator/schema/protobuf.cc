#include "simulator/schema/protobuf.h"

#include <bit>
#include <chrono>

#include "base/core/bytes.h"
#include "base/core/clock.h"

namespace thinsnap::schema {
namespace {

constexpr std::string_view kMagic("k8s\0", 4);
constexpr int kDeepest = 64;

Error Damaged(const std::string& why) {
  return Error(Code::kInvalidArgument, "damaged protobuf body: " + why);
}

// Fields of one message, in the order of the wire (protobuf.dev/programming-guides/encoding).
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  struct Field {
    int number = 0;
    int wire_type = 0;
    std::uint64_t number_value = 0;  // wire types 0, 1 and 5
    std::string_view bytes;          // wire type 2
  };

  bool done() const { return rest_.empty(); }

  Result<std::uint64_t> Varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return Damaged("it ends within a number");
      const auto byte = static_cast<std::uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return Damaged("a number is too long");
  }

  Result<Field> Next() {
    const std::uint64_t tag = TRY(Varint());
    Field field;
    field.number = static_cast<int>(tag >> 3);
    field.wire_type = static_cast<int>(tag & 7);
    switch (field.wire_type) {
      case 0:
        field.number_value = TRY(Varint());
        return field;
      case 1:
        field.number_value = TRY(Fixed<std::uint64_t>());
        return field;
      case 2: {
        const std::uint64_t length = TRY(Varint());
        if (length > rest_.size()) return Damaged("a length is beyond the end");
        field.bytes = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return field;
      }
      case 5:
        field.number_value = TRY(Fixed<std::uint32_t>());
        return field;
      default:
        return Damaged("wire type " + std::to_string(field.wire_type));
    }
  }

 private:
  template <typename T>
  Result<std::uint64_t> Fixed() {
    if (rest_.size() < sizeof(T)) return Damaged("it ends within a number");
    const T value = LoadLe<T>(reinterpret_cast<const std::uint8_t*>(rest_.data()));
    rest_.remove_prefix(sizeof(T));
    return static_cast<std::uint64_t>(value);
  }

  std::string_view rest_;
};

const Property* ByNumber(const Schema& schema, int number) {
  for (const Property& property : schema.properties) {
    if (property.wire_number == number) return &property;
  }
  return nullptr;
}

Result<Json> DecodeTime(std::string_view bytes, bool micro) {
  // An empty message is Go's zero time.
  if (bytes.empty()) return Json(nullptr);
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  for (Reader reader(bytes); !reader.done();) {
    const Reader::Field field = TRY(reader.Next());
    if (field.number == 1) seconds = static_cast<std::int64_t>(field.number_value);
    if (field.number == 2) nanoseconds = static_cast<std::int32_t>(field.number_value);
  }
  // The zero time, year 1, stands for none; what does not fit in 64 bits of nanoseconds, too.
  if (seconds < -9'000'000'000 || seconds > 9'000'000'000) return Json(nullptr);
  const WallTime time = FromUnixSeconds(seconds) + std::chrono::nanoseconds(nanoseconds);
  return Json(micro ? FormatRfc3339Micro(time) : FormatRfc3339(time));
}

Result<Json> DecodeIntOrString(std::string_view bytes) {
  std::int64_t type = 0, number = 0;
  std::string text;
  for (Reader reader(bytes); !reader.done();) {
    const Reader::Field field = TRY(reader.Next());
    if (field.number == 1) type = static_cast<std::int64_t>(field.number_value);
    if (field.number == 2) number = static_cast<std::int32_t>(field.number_value);
    if (field.number == 3) text = field.bytes;
  }
  return type == 1 ? Json(text) : Json(number);
}

// The one bytes or string field of a wrapper message.
Result<std::string_view> FirstField(std::string_view bytes) {
  std::string_view value;
  for (Reader reader(bytes); !reader.done();) {
    const Reader::Field field = TRY(reader.Next());
    if (field.number == 1) value = field.bytes;
  }
  return value;
}

Result<Json> DecodeMessage(const Schema& schema, std::string_view bytes, int depth);

Result<Json> DecodeScalar(const Schema& schema, const Reader::Field& field, int depth) {
  switch (schema.format) {
    case Format::kQuantity:
      return Json(TRY(FirstField(field.bytes)));
    case Format::kTime:
      return DecodeTime(field.bytes, false);
    case Format::kMicroTime:
      return DecodeTime(field.bytes, true);
    case Format::kIntOrString:
      return DecodeIntOrString(field.bytes);
    case Format::kBytes:
      return Json(Base64Encode(AsBytes(field.bytes)));
    case Format::kRaw: {
      const std::string_view raw = TRY(FirstField(field.bytes));
      if (raw.empty()) return Json(nullptr);
      return ParseJson(raw).In("embedded JSON");
    }
    case Format::kDuration: {
      std::int64_t nanoseconds = 0;
      for (Reader reader(field.bytes); !reader.done();) {
        const Reader::Field inner = TRY(reader.Next());
        if (inner.number == 1) nanoseconds = static_cast<std::int64_t>(inner.number_value);
      }
      return Json(FormatDuration(Duration(nanoseconds)));
    }
    default:
      break;
  }
  switch (schema.type) {
    case Schema::Type::kString:
      return Json(field.bytes);
    case Schema::Type::kInteger:
      return schema.format == Format::kInt32 ? Json(static_cast<std::int32_t>(field.number_value))
                                             : Json(static_cast<std::int64_t>(field.number_value));
    case Schema::Type::kBoolean:
      return Json(field.number_value != 0);
    case Schema::Type::kNumber:
      return Json(field.wire_type == 5 ? static_cast<double>(std::bit_cast<float>(
                                             static_cast<std::uint32_t>(field.number_value)))
                                       : std::bit_cast<double>(field.number_value));
    default:
      return DecodeMessage(schema, field.bytes, depth + 1);
  }
}

// One entry of a map field: a message of key and value.
Status DecodeEntry(const Schema& value_schema, std::string_view bytes, JsonObject& into,
                   int depth) {
  std::string key;
  Reader::Field value;
  value.wire_type = 2;
  for (Reader reader(bytes); !reader.done();) {
    const Reader::Field field = TRY(reader.Next());
    if (field.number == 1) key = field.bytes;
    if (field.number == 2) value = field;
  }
  into[key] = TRY(DecodeScalar(value_schema, value, depth));
  return {};
}

Status DecodeElement(const Schema& element_schema, const Reader::Field& field, JsonArray& into,
                     int depth) {
  const bool numeric = element_schema.type == Schema::Type::kInteger ||
                       element_schema.type == Schema::Type::kBoolean;
  if (!numeric || field.wire_type != 2) {
    into.push_back(TRY(DecodeScalar(element_schema, field, depth)));
    return {};
  }
  for (Reader packed(field.bytes); !packed.done();) {
    Reader::Field element;
    element.number_value = TRY(packed.Varint());
    into.push_back(TRY(DecodeScalar(element_schema, element, depth)));
  }
  return {};
}

Status DecodeField(const Schema& schema, const Reader::Field& field, JsonObject& object,
                   int depth) {
  const Property* property = ByNumber(schema, field.number);
  if (property == nullptr) return {};
  const Schema& type = *property->schema;
  if (property->inlined) {
    Json inner = TRY(DecodeMessage(type, field.bytes, depth + 1));
    if (inner.is_object()) {
      for (auto& [key, value] : inner.get_object()) object[key] = std::move(value);
    }
    return {};
  }
  Json& slot = object[property->name];
  if (type.type == Schema::Type::kArray && type.message.empty()) {
    if (!slot.is_array()) slot = JsonArray();
    return DecodeElement(*type.items, field, slot.get_array(), depth);
  }
  if (type.type == Schema::Type::kObject && type.additional != nullptr) {
    if (!slot.is_object()) slot = JsonObject();
    return DecodeEntry(*type.additional, field.bytes, slot.get_object(), depth);
  }
  slot = TRY(DecodeScalar(type, field, depth));
  return {};
}

Result<Json> DecodeMessage(const Schema& schema, std::string_view bytes, int depth) {
  if (depth > kDeepest) return Damaged("messages are nested deeper than 64 levels");
  if (schema.type == Schema::Type::kArray) {
    JsonArray array;
    for (Reader reader(bytes); !reader.done();) {
      const Reader::Field field = TRY(reader.Next());
      if (field.number == 1) TRY(DecodeElement(*schema.items, field, array, depth));
    }
    return Json(std::move(array));
  }
  JsonObject object;
  for (Reader reader(bytes); !reader.done();) {
    const Reader::Field field = TRY(reader.Next());
    TRY(DecodeField(schema, field, object, depth));
  }
  return Json(std::move(object));
}

}  // namespace

bool IsProtobuf(std::string_view body) { return body.starts_with(kMagic); }

Result<ProtobufEnvelope> ParseEnvelope(std::string_view body) {
  if (!IsProtobuf(body)) return Damaged("it does not begin with k8s\\0");
  ProtobufEnvelope envelope;
  for (Reader reader(body.substr(kMagic.size())); !reader.done();) {
    const Reader::Field field = TRY(reader.Next());
    if (field.number == 1) {
      for (Reader type_meta(field.bytes); !type_meta.done();) {
        const Reader::Field inner = TRY(type_meta.Next());
        if (inner.number == 1) envelope.api_version = inner.bytes;
        if (inner.number == 2) envelope.kind = inner.bytes;
      }
    } else if (field.number == 2) {
      envelope.raw = field.bytes;
    } else if (field.number == 3 && !field.bytes.empty()) {
      return Damaged("content encoding \"" + std::string(field.bytes) + "\"");
    } else if (field.number == 4) {
      envelope.content_type = field.bytes;
    }
  }
  return envelope;
}

Result<Json> DecodeMessageBytes(const Schema& schema, std::string_view raw) {
  return DecodeMessage(schema, raw, 0);
}

}  // namespace thinsnap::schema
