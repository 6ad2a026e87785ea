#include "snapshotter/store/xml.h"

#include <charconv>
#include <cstdint>

namespace thinsnap::store {
namespace {

constexpr int kMaxDepth = 16;
constexpr std::string_view kSpace = " \t\r\n";

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == ':' || static_cast<unsigned char>(c) >= 0x80;
}

bool IsXmlChar(std::uint32_t c) {
  return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xd7ff) ||
         (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c <= 0x10ffff);
}

void AppendUtf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

class Parser {
 public:
  Parser(std::string_view text, std::size_t max_elements) : text_(text), left_(max_elements) {}

  Result<XmlElement> Document() {
    if (text_.substr(at_).starts_with("\xEF\xBB\xBF")) at_ += 3;
    if (Rest().starts_with("<?xml")) TRY(SkipPast("?>"));
    TRY(SkipMisc());
    XmlElement root = TRY(Element(1));
    TRY(SkipMisc());
    if (at_ != text_.size()) return Bad("the document goes on after its root");
    return root;
  }

 private:
  std::string_view Rest() const { return text_.substr(at_); }

  Error Bad(std::string_view why) const {
    return Error(Code::kInvalidArgument,
                 "XML at offset " + std::to_string(at_) + ": " + std::string(why));
  }

  void SkipSpace() {
    while (at_ < text_.size() && kSpace.find(text_[at_]) != kSpace.npos) ++at_;
  }

  Status SkipPast(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    if (found == text_.npos) return Bad("the document ends too early");
    at_ = found + end.size();
    return {};
  }

  Status SkipMisc() {
    for (;;) {
      SkipSpace();
      if (!Rest().starts_with("<!--")) return {};
      TRY(SkipPast("-->"));
    }
  }

  Result<std::string> Name() {
    const std::size_t start = at_;
    while (at_ < text_.size() && IsNameChar(text_[at_])) ++at_;
    if (at_ == start || text_[start] == '-' || text_[start] == '.' ||
        (text_[start] >= '0' && text_[start] <= '9')) {
      return Bad("a name is expected");
    }
    return std::string(text_.substr(start, at_ - start));
  }

  Status Attributes() {
    for (;;) {
      const std::size_t before = at_;
      SkipSpace();
      if (Rest().starts_with(">") || Rest().starts_with("/>")) return {};
      if (at_ == before) return Bad("> is expected");
      TRY(Name());
      SkipSpace();
      if (!Rest().starts_with("=")) return Bad("= is expected");
      ++at_;
      SkipSpace();
      if (at_ >= text_.size() || (text_[at_] != '"' && text_[at_] != '\''))
        return Bad("a quoted value is expected");
      const char quote = text_[at_++];
      while (at_ < text_.size() && text_[at_] != quote) {
        if (text_[at_] == '<') return Bad("< within an attribute");
        ++at_;
      }
      if (at_ >= text_.size()) return Bad("the document ends too early");
      ++at_;
    }
  }

  Status Reference(std::string& out) {
    const std::size_t end = text_.substr(at_, 16).find(';');
    if (end == text_.npos) return Bad("& without ;");
    const std::string_view name = text_.substr(at_ + 1, end - 1);
    if (name == "amp") {
      out += '&';
    } else if (name == "lt") {
      out += '<';
    } else if (name == "gt") {
      out += '>';
    } else if (name == "quot") {
      out += '"';
    } else if (name == "apos") {
      out += '\'';
    } else if (name.starts_with('#')) {
      const bool hex = name.starts_with("#x");
      const std::string_view digits = name.substr(hex ? 2 : 1);
      std::uint32_t value = 0;
      const auto [stop, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
      if (error != std::errc() || stop != digits.data() + digits.size() || !IsXmlChar(value)) {
        return Bad("a character that does not exist");
      }
      AppendUtf8(out, value);
    } else {
      return Bad("an unknown entity");
    }
    at_ += end + 1;
    return {};
  }

  Result<XmlElement> Element(int depth) {
    if (depth > kMaxDepth) return Bad("more than 16 levels");
    if (left_-- == 0) return Bad("too many elements");
    if (!Rest().starts_with("<")) return Bad("an element is expected");
    ++at_;
    XmlElement element;
    element.name = TRY(Name());
    TRY(Attributes());
    if (Rest().starts_with("/>")) {
      at_ += 2;
      return element;
    }
    ++at_;
    for (;;) {
      const std::size_t next = text_.find_first_of("<&", at_);
      if (next == text_.npos) return Bad("the document ends too early");
      element.text += text_.substr(at_, next - at_);
      at_ = next;
      if (text_[at_] == '&') {
        TRY(Reference(element.text));
      } else if (Rest().starts_with("</")) {
        at_ += 2;
        const std::string name = TRY(Name());
        if (name != element.name) return Bad("</" + name + "> ends <" + element.name + ">");
        SkipSpace();
        if (!Rest().starts_with(">")) return Bad("> is expected");
        ++at_;
        return element;
      } else if (Rest().starts_with("<!--")) {
        TRY(SkipPast("-->"));
      } else if (Rest().starts_with("<![CDATA[")) {
        at_ += 9;
        const std::size_t start = at_;
        TRY(SkipPast("]]>"));
        element.text += text_.substr(start, at_ - 3 - start);
      } else {
        element.children.push_back(TRY(Element(depth + 1)));
      }
    }
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  std::size_t left_;
};

}  // namespace

const XmlElement* XmlElement::Child(std::string_view child_name) const {
  for (const XmlElement& child : children) {
    if (child.name == child_name) return &child;
  }
  return nullptr;
}

std::string XmlElement::TextOf(std::string_view child_name) const {
  const XmlElement* child = Child(child_name);
  return child == nullptr ? "" : child->text;
}

Result<XmlElement> ParseXml(std::string_view text, std::size_t max_elements) {
  return Parser(text, max_elements).Document();
}

std::string XmlEscape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '\r':
        out += "&#xD;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n') {
          out += "\xEF\xBF\xBD";
        } else {
          out += c;
        }
    }
  }
  return out;
}

}  // namespace thinsnap::store
