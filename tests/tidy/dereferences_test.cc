#include "tests/tidy/dereferences.h"

#include <gtest/gtest.h>

namespace thinsnap::tidy {
namespace {

std::string Found(std::string_view source) {
  std::string text;
  for (const Dereference& one : UncheckedDereferences(source))
    text += std::to_string(one.line) + ":" + one.finder + " ";
  return text;
}

TEST(DereferencesTest, AnswersThatNobodyLookedAtAreFound) {
  EXPECT_EQ(Found(R"(
    if (*Find(*old, "spec") == 1) return;
    for (const auto& [k, v] : *FindObject(node, "metadata.labels")) Use(k, v);
    FindMutable(object, "metadata.annotations")->get_object()[key] = value;
    return *set.Find(uid);
    const int value = table.find(Key(a, b))->second;
    Take(TRY(*this->owner.FindOwner(
        "a ) \" // b", uid)));
    auto first = *std::find_if(all.begin(), all.end(), [](int x) { return x > 1; });
    value.if_object()->size();
  )"),
            "2:Find 3:FindObject 4:FindMutable 5:Find 6:find 7:FindOwner 9:find_if 10:if_object ");
}

TEST(DereferencesTest, VariablesThatAreDereferencedAtOnceAreFound) {
  EXPECT_EQ(Found(R"(
    const Json* spec = Find(crd, "spec");
    Set(present, "spec", *spec);
    Slot* slot = FindSlot(name);
    if (now < slot->not_before) return;
    if (Slot* other = FindSlot(name); !other->stopping) Stop();
    const auto it = counts_.find(name);
    total += it->second;
  )"),
            "2:Find 4:FindSlot 6:FindSlot 7:find ");
}

TEST(DereferencesTest, WhatIsLookedAtFirstIsFine) {
  EXPECT_EQ(Found(R"(
    // *Find(object, "spec") would be wrong.
    const char* text = "*Find(object)->spec";
    const Json* Find(const Json& value, std::string_view path);
    std::vector<Json*> FindAll(const Json& value);
    if (const Json* spec = Find(crd, "spec")) Set(present, "spec", *spec);
    if (const Json* spec = Find(crd, "spec"); spec != nullptr && spec->is_object()) Use(*spec);
    const auto it = counts_.find(name);
    if (it == counts_.end()) return;
    total += it->second * Find(count);
    const auto area = width * FindHeight(name);
    const auto at = text.find(':');
    text.remove_prefix(at);
    Found found = Find(name);
    return found;
  )"),
            "");
}

}  // namespace
}  // namespace thinsnap::tidy
