// What the tests of this room share: JSON from text, kinds by name, errors as text.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <string_view>

#include "base/data/json.h"
#include "simulator/objects/api_error.h"
#include "simulator/objects/kinds.h"

namespace thinsnap::objects {

inline Json J(std::string_view text) {
  auto value = ParseJson(text);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? *value : Json();
}

// "spec.a FieldValueInvalid; spec.b FieldValueRequired".
inline std::string Told(const FieldErrors& errors) {
  std::string text;
  for (const FieldError& error : errors)
    text += (text.empty() ? "" : "; ") + error.field + " " + error.reason;
  return text;
}

inline KindRef BuiltinKind(std::string_view group, std::string_view resource) {
  static const KindTable kinds;
  KindRef kind = kinds.FindResource(group, resource);
  EXPECT_NE(kind, nullptr) << resource;
  return kind;
}

}  // namespace thinsnap::objects
