// A Pratt parser over a small tokenizer.
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <set>

#include "simulator/schema/cel_node.h"

namespace thinsnap::schema::cel {
namespace {

struct Token {
  enum class Type { kEnd, kName, kLiteral, kOperator } type = Type::kEnd;
  std::string text;
  Json literal;
  std::size_t at = 0;
};

bool IsNameStart(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool IsNamePart(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text) : text_(text) {}

  Result<Token> Next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    Token token;
    token.at = at_;
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    const char next = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (c == '"' || c == '\'' || ((c == 'r' || c == 'b') && (next == '"' || next == '\'')))
      return String();
    if (IsNameStart(c)) {
      const std::size_t start = at_;
      while (at_ < text_.size() && IsNamePart(text_[at_])) ++at_;
      token.text = text_.substr(start, at_ - start);
      token.type = Token::Type::kName;
      if (token.text == "true" || token.text == "false" || token.text == "null") {
        token.type = Token::Type::kLiteral;
        token.literal = token.text == "null" ? Json(nullptr) : Json(token.text == "true");
      }
      return token;
    }
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) return Number();
    static constexpr std::array<std::string_view, 6> kTwo = {"==", "!=", "<=", ">=", "&&", "||"};
    token.type = Token::Type::kOperator;
    for (const std::string_view op : kTwo) {
      if (!text_.substr(at_).starts_with(op)) continue;
      token.text = op;
      at_ += 2;
      return token;
    }
    if (std::string_view("+-*/%<>!?:.,()[]{}").find(c) == std::string_view::npos) {
      return Bad(std::string("unexpected character '") + c + "'");
    }
    token.text = std::string(1, c);
    ++at_;
    return token;
  }

  Error Bad(const std::string& why) const {
    return Error(Code::kInvalidArgument, "at " + std::to_string(at_ + 1) + ": " + why);
  }

 private:
  Result<Token> Number() {
    Token token;
    token.type = Token::Type::kLiteral;
    token.at = at_;
    const char* begin = text_.data() + at_;
    const char* end = text_.data() + text_.size();
    std::int64_t integer = 0;
    const bool hex = text_.substr(at_).starts_with("0x");
    const auto whole = std::from_chars(begin + (hex ? 2 : 0), end, integer, hex ? 16 : 10);
    const bool real =
        !hex && whole.ptr < end && (*whole.ptr == '.' || *whole.ptr == 'e' || *whole.ptr == 'E');
    if (real) {
      double value = 0;
      const auto parsed = std::from_chars(begin, end, value);
      if (parsed.ec != std::errc()) return Bad("not a number");
      at_ = static_cast<std::size_t>(parsed.ptr - text_.data());
      token.literal = value;
      return token;
    }
    if (whole.ec != std::errc()) return Bad("not a number");
    at_ = static_cast<std::size_t>(whole.ptr - text_.data());
    if (at_ < text_.size() && (text_[at_] == 'u' || text_[at_] == 'U')) ++at_;
    token.literal = integer;
    return token;
  }

  Result<Token> String() {
    Token token;
    token.type = Token::Type::kLiteral;
    token.at = at_;
    bool raw = false;
    if (text_[at_] == 'r' || text_[at_] == 'b') raw = text_[at_++] == 'r';
    const char quote = text_[at_];
    const bool triple = text_.substr(at_).starts_with(std::string(3, quote));
    const std::string closing(triple ? 3 : 1, quote);
    at_ += closing.size();
    std::string value;
    while (!text_.substr(at_).starts_with(closing)) {
      if (at_ >= text_.size()) return Bad("a text is not closed");
      if (raw || text_[at_] != '\\') {
        value += text_[at_++];
        continue;
      }
      ++at_;
      if (at_ >= text_.size()) return Bad("a text is not closed");
      const char c = text_[at_++];
      switch (c) {
        case 'n':
          value += '\n';
          break;
        case 't':
          value += '\t';
          break;
        case 'r':
          value += '\r';
          break;
        case 'a':
          value += '\a';
          break;
        case 'b':
          value += '\b';
          break;
        case 'f':
          value += '\f';
          break;
        case 'v':
          value += '\v';
          break;
        case 'x': {
          unsigned code = 0;
          const char* from = text_.data() + at_;
          const auto parsed =
              std::from_chars(from, std::min(from + 2, text_.data() + text_.size()), code, 16);
          if (parsed.ptr != from + 2) return Bad("\\x wants two hexadecimal digits");
          at_ += 2;
          value += static_cast<char>(code);
          break;
        }
        default:
          if (std::string_view("\\\"'`?").find(c) == std::string_view::npos)
            return Bad("unknown escape");
          value += c;
      }
    }
    at_ += closing.size();
    token.literal = Json(value);
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// Kubernetes writes members that are no CEL names with escapes: __namespace__, a__dash__b.
std::string Unescape(std::string name) {
  static const std::set<std::string> kReserved = {
      "true",     "false",   "null",      "in",       "as",  "break",  "const",
      "continue", "else",    "for",       "function", "if",  "import", "let",
      "loop",     "package", "namespace", "return",   "var", "void",   "while"};
  if (name.size() > 4 && name.starts_with("__") && name.ends_with("__") &&
      kReserved.contains(name.substr(2, name.size() - 4))) {
    return name.substr(2, name.size() - 4);
  }
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kEscapes = {
      {{"__underscores__", "__"}, {"__dot__", "."}, {"__dash__", "-"}, {"__slash__", "/"}}};
  for (const auto& [escape, plain] : kEscapes) {
    for (auto at = name.find(escape); at != std::string::npos;
         at = name.find(escape, at + plain.size())) {
      name.replace(at, escape.size(), plain);
    }
  }
  return name;
}

int Precedence(const Token& token) {
  if (token.type == Token::Type::kName) return token.text == "in" ? 4 : 0;
  if (token.type != Token::Type::kOperator) return 0;
  const std::string& op = token.text;
  if (op == "?") return 1;
  if (op == "||") return 2;
  if (op == "&&") return 3;
  if (op == "==" || op == "!=" || op == "<" || op == "<=" || op == ">" || op == ">=") return 4;
  if (op == "+" || op == "-") return 5;
  if (op == "*" || op == "/" || op == "%") return 6;
  return 0;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : tokens_(text) {}

  using NodePtr = std::unique_ptr<Node>;

  Result<NodePtr> Parse() {
    TRY(Advance());
    NodePtr node = TRY(Expression(1));
    if (now_.type != Token::Type::kEnd) return tokens_.Bad("unexpected \"" + now_.text + "\"");
    return node;
  }

 private:
  static NodePtr Make(Node::Type type, std::string text = "") {
    auto node = std::make_unique<Node>();
    node->type = type;
    node->text = std::move(text);
    return node;
  }

  Status Advance() {
    now_ = TRY(tokens_.Next());
    return {};
  }
  bool Is(std::string_view op) const {
    return now_.type == Token::Type::kOperator && now_.text == op;
  }
  Status Expect(std::string_view op) {
    if (!Is(op)) return tokens_.Bad("expected \"" + std::string(op) + "\"");
    return Advance();
  }

  Result<NodePtr> Expression(int lowest) {
    if (++depth_ > 64) return tokens_.Bad("nested deeper than 64 levels");
    NodePtr left = TRY(Unary());
    for (int precedence = Precedence(now_); precedence >= lowest && precedence > 0;
         precedence = Precedence(now_)) {
      const std::string op = now_.text;
      TRY(Advance());
      if (op == "?") {
        NodePtr node = Make(Node::Type::kConditional);
        node->children.push_back(std::move(left));
        node->children.push_back(TRY(Expression(2)));
        TRY(Expect(":"));
        node->children.push_back(TRY(Expression(1)));
        left = std::move(node);
        continue;
      }
      NodePtr node = Make(Node::Type::kBinary, op);
      node->children.push_back(std::move(left));
      node->children.push_back(TRY(Expression(precedence + 1)));
      left = std::move(node);
    }
    --depth_;
    return left;
  }

  Result<NodePtr> Unary() {
    if (Is("!") || Is("-")) {
      if (++depth_ > 64) return tokens_.Bad("nested deeper than 64 levels");
      NodePtr node = Make(Is("!") ? Node::Type::kNot : Node::Type::kNegate);
      TRY(Advance());
      node->children.push_back(TRY(Unary()));
      --depth_;
      return node;
    }
    NodePtr node = TRY(Primary());
    for (;;) {
      if (Is(".")) {
        TRY(Advance());
        if (now_.type != Token::Type::kName) return tokens_.Bad("expected a member's name");
        const std::string name = now_.text;
        TRY(Advance());
        if (Is("(")) {
          node = TRY(Call(std::move(node), name));
        } else {
          NodePtr select = Make(Node::Type::kSelect, Unescape(name));
          select->children.push_back(std::move(node));
          node = std::move(select);
        }
      } else if (Is("[")) {
        TRY(Advance());
        NodePtr index = Make(Node::Type::kIndex);
        index->children.push_back(std::move(node));
        index->children.push_back(TRY(Expression(1)));
        TRY(Expect("]"));
        node = std::move(index);
      } else {
        return node;
      }
    }
  }

  Result<NodePtr> Primary() {
    if (now_.type == Token::Type::kLiteral) {
      NodePtr node = Make(Node::Type::kLiteral);
      node->literal = now_.literal;
      TRY(Advance());
      return node;
    }
    if (now_.type == Token::Type::kName) {
      const std::string name = now_.text;
      TRY(Advance());
      if (Is("(")) return Call(nullptr, name);
      return Make(Node::Type::kName, name);
    }
    if (Is("(")) {
      TRY(Advance());
      NodePtr node = TRY(Expression(1));
      TRY(Expect(")"));
      return node;
    }
    if (Is("[")) return Elements(Node::Type::kList, "]");
    if (Is("{")) return Elements(Node::Type::kMap, "}");
    return tokens_.Bad(now_.type == Token::Type::kEnd ? "the expression ends too early"
                                                      : "unexpected \"" + now_.text + "\"");
  }

  Result<NodePtr> Elements(Node::Type type, std::string_view closing) {
    NodePtr node = Make(type);
    TRY(Advance());
    while (!Is(closing)) {
      node->children.push_back(TRY(Expression(1)));
      if (type == Node::Type::kMap) {
        TRY(Expect(":"));
        node->children.push_back(TRY(Expression(1)));
      }
      if (!Is(closing)) TRY(Expect(","));
    }
    TRY(Advance());
    return node;
  }

  // `target` is null for a plain function.
  Result<NodePtr> Call(NodePtr target, const std::string& name) {
    TRY(Advance());
    std::vector<NodePtr> arguments;
    while (!Is(")")) {
      arguments.push_back(TRY(Expression(1)));
      if (!Is(")")) TRY(Expect(","));
    }
    TRY(Advance());
    if (target == nullptr && name == "has") {
      if (arguments.size() != 1 || arguments[0]->type != Node::Type::kSelect) {
        return tokens_.Bad("has() wants a member, has(self.x)");
      }
      arguments[0]->type = Node::Type::kHas;
      return std::move(arguments[0]);
    }
    static const std::set<std::string> kMacros = {"all", "exists", "exists_one", "map", "filter"};
    if (target != nullptr && kMacros.contains(name)) {
      if (arguments.size() < 2 || arguments.size() > (name == "map" ? 3U : 2U) ||
          arguments[0]->type != Node::Type::kName) {
        return tokens_.Bad(name + "() wants a variable and an expression");
      }
      NodePtr node = Make(Node::Type::kMacro, name);
      node->variable = arguments[0]->text;
      node->children.push_back(std::move(target));
      for (std::size_t i = 1; i < arguments.size(); ++i)
        node->children.push_back(std::move(arguments[i]));
      return node;
    }
    NodePtr node = Make(target == nullptr ? Node::Type::kCall : Node::Type::kMethod, name);
    if (target != nullptr) node->children.push_back(std::move(target));
    for (NodePtr& argument : arguments) node->children.push_back(std::move(argument));
    return node;
  }

  Tokenizer tokens_;
  Token now_;
  int depth_ = 0;
};

}  // namespace

Result<std::unique_ptr<Node>> ParseCel(std::string_view text) { return Parser(text).Parse(); }

}  // namespace thinsnap::schema::cel
