#include "tests/tidy/dereferences.h"

#include <array>
#include <cctype>

namespace thinsnap::tidy {
namespace {

struct Token {
  std::string_view text;
  std::size_t line;
};
using Tokens = std::vector<Token>;

bool IsWordPart(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// The end of a literal that starts with its quote.
std::size_t EndOfLiteral(std::string_view source, std::size_t at) {
  const char quote = source[at];
  for (++at; at < source.size() && source[at] != quote; ++at) {
    if (source[at] == '\\') ++at;
  }
  return std::min(at + 1, source.size());
}

std::size_t EndOfRawLiteral(std::string_view source, std::size_t quote) {
  const std::size_t open = source.find('(', quote);
  if (open == source.npos) return source.size();
  const std::string close = ")" + std::string(source.substr(quote + 1, open - quote - 1)) + "\"";
  const std::size_t end = source.find(close, open);
  return end == source.npos ? source.size() : end + close.size();
}

// Words, literals and operators; comments and the preprocessor's lines are left out.
Tokens Tokenize(std::string_view source) {
  constexpr std::array<std::string_view, 6> kPairs = {"->", "::", "==", "!=", "&&", "||"};
  Tokens tokens;
  std::size_t line = 1;
  for (std::size_t at = 0; at < source.size();) {
    std::size_t end = at + 1;
    const std::string_view rest = source.substr(at);
    bool counts = true;
    if (rest.starts_with("//") || (rest.starts_with('#') && (at == 0 || source[at - 1] == '\n'))) {
      end = std::min(source.find('\n', at), source.size());
      counts = false;
    } else if (std::isspace(static_cast<unsigned char>(source[at])) != 0) {
      counts = false;
    } else if (rest.starts_with("R\"")) {
      end = EndOfRawLiteral(source, at + 1);
    } else if (source[at] == '"' || source[at] == '\'') {
      end = EndOfLiteral(source, at);
    } else if (IsWordPart(source[at])) {
      // A number may hold quotes: 1'000.
      const bool number = std::isdigit(static_cast<unsigned char>(source[at])) != 0;
      while (end < source.size() && (IsWordPart(source[end]) || (number && source[end] == '\'')))
        ++end;
    } else {
      for (const std::string_view pair : kPairs) {
        if (rest.starts_with(pair)) end = at + pair.size();
      }
    }
    if (counts) tokens.push_back({source.substr(at, end - at), line});
    for (; at < end; ++at) line += source[at] == '\n' ? 1 : 0;
  }
  return tokens;
}

bool IsWord(const Token& token) { return IsWordPart(token.text.front()); }

bool IsFinder(const Token& token) {
  for (const std::string_view start : {"Find", "find", "if_"}) {
    if (token.text.starts_with(start)) return true;
  }
  return false;
}

// True if the star at `at` has nothing to multiply or to make a pointer type of before it.
bool IsUnary(const Tokens& tokens, std::size_t at) {
  if (at == 0) return true;
  const Token& before = tokens[at - 1];
  if (before.text == "return" || before.text == "co_return") return true;
  return !IsWord(before) && before.text != ")" && before.text != "]" && before.text != ">";
}

bool IsStar(const Tokens& tokens, std::size_t at) {
  return tokens[at].text == "*" && IsUnary(tokens, at);
}

// Past the bracket that closes the one at `open`.
std::size_t AfterCall(const Tokens& tokens, std::size_t open) {
  int depth = 0;
  for (std::size_t at = open; at < tokens.size(); ++at) {
    if (tokens[at].text == "(") ++depth;
    if (tokens[at].text == ")" && --depth == 0) return at + 1;
  }
  return tokens.size();
}

// Where `a.b->Find` begins, whose last word is at `at`.
std::size_t StartOfCallee(const Tokens& tokens, std::size_t at) {
  while (
      at >= 2 && IsWord(tokens[at - 2]) &&
      (tokens[at - 1].text == "." || tokens[at - 1].text == "->" || tokens[at - 1].text == "::")) {
    at -= 2;
  }
  return at;
}

// True if the variable is dereferenced where it is named next.
bool IsUsedUnseen(const Tokens& tokens, std::size_t from, std::string_view variable) {
  for (std::size_t at = from; at < tokens.size(); ++at) {
    if (tokens[at].text != variable) continue;
    return IsStar(tokens, at - 1) || (at + 1 < tokens.size() && tokens[at + 1].text == "->");
  }
  return false;
}

}  // namespace

std::vector<Dereference> UncheckedDereferences(std::string_view source) {
  const Tokens tokens = Tokenize(source);
  std::vector<Dereference> found;
  for (std::size_t at = 0; at + 1 < tokens.size(); ++at) {
    if (!IsFinder(tokens[at]) || tokens[at + 1].text != "(") continue;
    const std::size_t after = AfterCall(tokens, at + 1);
    const std::string_view next = after < tokens.size() ? tokens[after].text : "";
    const std::size_t start = StartOfCallee(tokens, at);
    const bool assigned =
        start >= 2 && tokens[start - 1].text == "=" && IsWord(tokens[start - 2]) && next == ";";
    if (next == "->" || (start > 0 && IsStar(tokens, start - 1)) ||
        (assigned && IsUsedUnseen(tokens, after, tokens[start - 2].text))) {
      found.push_back({tokens[at].line, std::string(tokens[at].text)});
    }
  }
  return found;
}

}  // namespace thinsnap::tidy
