// Rules about single fields, as tables: a path, what must hold of the value there, and a word for
// it. Whatever needs more than one field is code in the files *validation.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"

namespace thinsnap::objects {

// `value` is null where the member is absent but what it is a member of is there. `at` is the path
// as clients see it.
using FieldCheck = void (*)(const Json* value, const std::string& at, std::string_view argument,
                            schema::FieldErrors& errors);

// path: members joined by dots; "list[]" is each element, "list[-]" too, but told without its
// index; "~member" is not told at all.
struct FieldRule {
  std::string_view path;
  FieldCheck check;
  std::string_view argument = "";
};

// `at` is where `object` stands, "" at the top.
void CheckFields(const Json& object, std::span<const FieldRule> rules, const std::string& at,
                 schema::FieldErrors& errors);

// What is absent passes all but Required.
namespace field {

void Required(const Json*, const std::string&, std::string_view detail, schema::FieldErrors&);
void Absent(const Json*, const std::string&, std::string_view why, schema::FieldErrors&);
void OneOf(const Json*, const std::string&, std::string_view words, schema::FieldErrors&);  // a|b
// One of two words, told in words.
void Choice(const Json*, const std::string&, std::string_view words, schema::FieldErrors&);
void Range(const Json*, const std::string&, std::string_view low_high, schema::FieldErrors&);
void AtLeast(const Json*, const std::string&, std::string_view low_why, schema::FieldErrors&);
void Natural(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Mode(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Share(const Json*, const std::string&, std::string_view,
           schema::FieldErrors&);  // at most 100%
void Amounts(const Json*, const std::string&, std::string_view,
             schema::FieldErrors&);  // not below 0
void Label(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void LabelValue(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Subdomain(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Qualified(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void PathWithDomain(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void ConfigKey(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Address(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void PortName(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void HeaderName(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Relative(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Absolute(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void NoBacksteps(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Trimmed(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Labels(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void Selector(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
void NodeTerm(const Json*, const std::string&, std::string_view, schema::FieldErrors&);
// Of a list: no two elements with the same member (or the same elements, when it is empty).
void Unique(const Json*, const std::string&, std::string_view member, schema::FieldErrors&);

}  // namespace field
}  // namespace thinsnap::objects
