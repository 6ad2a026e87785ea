// What the tests of schema and objects share: JSON from text, kinds by name, errors as text.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <string_view>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap {

inline Json J(std::string_view text) {
  auto value = ParseJson(text);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? *value : Json();
}

// "spec.a FieldValueInvalid; spec.b FieldValueRequired".
inline std::string Told(const schema::FieldErrors& errors) {
  std::string text;
  for (const schema::FieldError& error : errors)
    text += (text.empty() ? "" : "; ") + error.field + " " + error.reason;
  return text;
}

inline schema::KindRef BuiltinKind(std::string_view group, std::string_view resource) {
  static const schema::KindTable kinds;
  schema::KindRef kind = kinds.FindResource(group, resource);
  EXPECT_NE(kind, nullptr) << resource;
  return kind;
}

}  // namespace thinsnap
