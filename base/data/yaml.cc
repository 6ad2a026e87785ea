#include "base/data/yaml.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>
#include <yaml.h>

#include "base/data/json.h"

namespace thinsnap {
namespace {

constexpr int kDeepest = 64;
// Anchors may repeat a part; a text that unfolds to more nodes than this is hostile.
constexpr int kMostNodes = 1'000'000;

class Parser {
 public:
  explicit Parser(std::string_view text) {
    yaml_parser_initialize(&parser_);
    // libyaml asserts that there is an address, also of nothing.
    if (text.empty()) text = "";
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  ~Parser() { yaml_parser_delete(&parser_); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // The next document; nullopt at the end of the stream.
  Result<std::optional<Json>> Next() {
    yaml_document_t document;
    if (yaml_parser_load(&parser_, &document) == 0) {
      return Error(Code::kInvalidArgument,
                   "line " + std::to_string(parser_.problem_mark.line + 1) + ": " +
                       (parser_.problem == nullptr ? "not YAML" : parser_.problem));
    }
    yaml_node_t* root = yaml_document_get_root_node(&document);
    Result<std::optional<Json>> result = std::optional<Json>();
    if (root != nullptr) {
      nodes_ = 0;
      Result<Json> value = Convert(document, *root, 0);
      if (value.ok()) {
        result = std::optional<Json>(std::move(value).value());
      } else {
        result = std::move(value).error();
      }
    }
    yaml_document_delete(&document);
    return result;
  }

 private:
  static Error At(const yaml_node_t& node, const std::string& problem) {
    return Error(Code::kInvalidArgument,
                 "line " + std::to_string(node.start_mark.line + 1) + ": " + problem);
  }

  Result<Json> Convert(yaml_document_t& document, const yaml_node_t& node, int depth) {
    if (depth > kDeepest) return At(node, "nested deeper than 64 levels");
    if (++nodes_ > kMostNodes) return At(node, "the document unfolds to too many values");
    switch (node.type) {
      case YAML_SCALAR_NODE:
        return Scalar(node);
      case YAML_SEQUENCE_NODE: {
        JsonArray array;
        for (const auto* item = node.data.sequence.items.start; item < node.data.sequence.items.top;
             ++item) {
          array.push_back(
              TRY(Convert(document, *yaml_document_get_node(&document, *item), depth + 1)));
        }
        return Json(std::move(array));
      }
      case YAML_MAPPING_NODE: {
        JsonObject object;
        for (const auto* pair = node.data.mapping.pairs.start; pair < node.data.mapping.pairs.top;
             ++pair) {
          const yaml_node_t& key = *yaml_document_get_node(&document, pair->key);
          if (key.type != YAML_SCALAR_NODE) return At(key, "a key must be a plain text");
          const std::string name(reinterpret_cast<const char*>(key.data.scalar.value),
                                 key.data.scalar.length);
          if (object.contains(name)) return At(key, "key \"" + name + "\" stands twice");
          object[name] =
              TRY(Convert(document, *yaml_document_get_node(&document, pair->value), depth + 1));
        }
        return Json(std::move(object));
      }
      default:
        return Json(nullptr);
    }
  }

  static Result<Json> Scalar(const yaml_node_t& node) {
    const std::string_view text(reinterpret_cast<const char*>(node.data.scalar.value),
                                node.data.scalar.length);
    if (node.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return Json(text);
    return Plain(text);
  }

  // YAML 1.2 core schema.
  static Json Plain(std::string_view text) {
    if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
      return nullptr;
    }
    if (text == "true" || text == "True" || text == "TRUE") return true;
    if (text == "false" || text == "False" || text == "FALSE") return false;
    const char first = text[0];
    if ((first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.') {
      if (const auto number = Number(text)) return *number;
    }
    return Json(text);
  }

  // As kubectl and API servers read them: a leading 0 means octal, too (a mode), and "_" may group
  // the digits.
  static std::optional<Json> Integer(std::string_view text) {
    std::string digits(text);
    std::erase(digits, '_');
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.erase(0, 1);
    int base = 10;
    std::size_t prefix = 0;
    if (digits.size() > 1 && digits[0] == '0') {
      const char kind = digits[1];
      const bool named = std::string_view("xXoObB").find(kind) != std::string_view::npos;
      prefix = named ? 2 : 1;
      base = kind == 'x' || kind == 'X' ? 16 : kind == 'b' || kind == 'B' ? 2 : 8;
      // "089" cannot be octal.
      if (!named && digits.find_first_of("89") != std::string::npos) base = 10;
    }
    std::uint64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data() + prefix, end, value, base);
    if (error != std::errc() || stop != end) return std::nullopt;
    constexpr std::uint64_t kLeast = 1ULL << 63;  // of the negative ones, without its sign
    if (!negative) return value < kLeast ? Json(static_cast<std::int64_t>(value)) : Json(value);
    if (value > kLeast) return std::nullopt;
    return Json(static_cast<std::int64_t>(~value + 1));
  }

  static std::optional<Json> Number(std::string_view text) {
    if (auto integer = Integer(text)) return integer;
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    const char* end = digits.data() + digits.size();
    if (digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
    double real = 0;
    if (const auto [stop, error] = std::from_chars(digits.data(), end, real);
        error == std::errc() && stop == end) {
      return Json(real);
    }
    return std::nullopt;
  }

  yaml_parser_t parser_;
  int nodes_ = 0;
};

// Whether a plain scalar of this text would be read back as something else than this string.
bool NeedsQuotes(std::string_view text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ') return true;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`~.+0123456789").find(text.front()) !=
      std::string_view::npos) {
    // A leading digit alone is harmless in names, but numbers, times and versions are better off
    // quoted.
    return true;
  }
  static constexpr const char* kWords[] = {"true", "false", "null", "yes", "no",
                                           "on",   "off",   "y",    "n",   "="};
  for (const char* word : kWords) {
    if (strncasecmp(text.data(), word, text.size()) == 0 && std::strlen(word) == text.size())
      return true;
  }
  if (text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos ||
      text.back() == ':') {
    return true;
  }
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  }
  return false;
}

void EmitString(std::string_view text, std::string& out) {
  // A JSON string is a YAML double-quoted scalar.
  out += NeedsQuotes(text)
             ? boost::json::serialize(boost::json::string_view(text.data(), text.size()))
             : std::string(text);
}

void Emit(const Json& value, int indent, std::string& out);

void EmitMembers(const JsonObject& object, int indent, std::string& out, bool first_inline) {
  bool first = true;
  for (const auto& [key, member] : object) {
    if (!(first && first_inline)) out.append(static_cast<std::size_t>(indent), ' ');
    first = false;
    EmitString(std::string_view(key.data(), key.size()), out);
    out += ':';
    const bool nested = (member.is_object() && !member.get_object().empty()) ||
                        (member.is_array() && !member.get_array().empty());
    if (nested) {
      out += '\n';
      Emit(member, member.is_array() ? indent : indent + 2, out);
    } else {
      out += ' ';
      Emit(member, indent, out);
    }
  }
}

void Emit(const Json& value, int indent, std::string& out) {
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    EmitMembers(*object, indent, out, false);
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    for (const Json& element : *array) {
      out.append(static_cast<std::size_t>(indent), ' ');
      out += "- ";
      if (const auto* member = element.if_object(); member != nullptr && !member->empty()) {
        EmitMembers(*member, indent + 2, out, true);
      } else if (element.is_array() && !element.get_array().empty()) {
        // Lists in lists are rare: the flow form needs no rules of its own.
        out += boost::json::serialize(element) + "\n";
      } else {
        Emit(element, indent + 2, out);
      }
    }
  } else if (value.is_string()) {
    EmitString(std::string_view(value.get_string().data(), value.get_string().size()), out);
    out += '\n';
  } else {
    out += boost::json::serialize(value) + "\n";
  }
}

}  // namespace

Result<Json> ParseYaml(std::string_view text) {
  Parser parser(text);
  std::optional<Json> document = TRY(parser.Next());
  if (!document.has_value()) return Json(nullptr);
  const std::optional<Json> second = TRY(parser.Next());
  if (second.has_value()) {
    return Error(Code::kInvalidArgument, "more than one document where one is expected");
  }
  return std::move(*document);
}

Result<std::vector<Json>> ParseYamlStream(std::string_view text) {
  Parser parser(text);
  std::vector<Json> documents;
  for (;;) {
    std::optional<Json> document = TRY(parser.Next());
    if (!document.has_value()) return documents;
    if (!document->is_null()) documents.push_back(std::move(*document));
  }
}

std::string ToYaml(const Json& value) {
  std::string out;
  Emit(value, 0, out);
  return out;
}

}  // namespace thinsnap
