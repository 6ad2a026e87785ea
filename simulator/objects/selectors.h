// Label and field selectors, as in list requests and in LabelSelector objects.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

class LabelSelector {
 public:
  LabelSelector() = default;  // matches everything
  // "a=b,c!=d,e in (f,g),!h". 400 "unable to parse requirement: ...".
  static schema::ApiResult<LabelSelector> Parse(std::string_view text);
  // A LabelSelector object (matchLabels, matchExpressions); null or absent matches nothing, an
  // empty one everything.
  static schema::ApiResult<LabelSelector> FromObject(const Json& selector);

  bool empty() const { return requirements_.empty() && !nothing_; }
  // Of an object's metadata.labels.
  bool Matches(const Json& object) const;
  bool MatchesLabels(const JsonObject& labels) const;
  // In the canonical text form: "a=d".
  std::string ToString() const;

 private:
  enum class Operator { kIn, kNotIn, kExists, kNotExists, kGreater, kLess };
  struct Requirement {
    std::string key;
    Operator op;
    std::vector<std::string> values;
    bool single = false;  // written with = or !=
  };
  friend class LabelSelectorParser;

  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

class FieldSelector {
 public:
  FieldSelector() = default;
  // "metadata.name=a,status.phase!=Running". 400 if the kind has no such selectable field.
  static schema::ApiResult<FieldSelector> Parse(std::string_view text, const schema::Kind& kind,
                                                const schema::KindVersion& version);

  bool empty() const { return terms_.empty(); }
  bool Matches(const Json& object) const;
  // The value that metadata.name must have, or "".
  std::string RequiredName() const;
  std::string RequiredNamespace() const;

 private:
  struct Term {
    std::string path, value;
    bool equal;
  };
  std::vector<Term> terms_;
};

}  // namespace thinsnap::objects
