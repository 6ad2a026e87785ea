#include "snapshotter/api/crds.h"

#include <gtest/gtest.h>
#include <set>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "snapshotter/api/kinds.h"

namespace thinsnap::backup {
namespace {

// A structural schema says a type for everything that it does not leave open.
void CheckStructural(const Json& schema, const std::string& path) {
  if (BoolAt(schema, "x-kubernetes-int-or-string")) return;
  EXPECT_FALSE(StringAt(schema, "type").empty()) << path;
  if (const auto* properties = FindObject(schema, "properties")) {
    for (const auto& [key, value] : *properties)
      CheckStructural(value, path + "." + std::string(key));
  }
  if (const auto* items = Find(schema, "items")) CheckStructural(*items, path + "[]");
  if (const auto* additional = Find(schema, "additionalProperties"))
    CheckStructural(*additional, path + ".*");
}

TEST(CrdsTest, EveryKindHasAStructuralSchema) {
  std::set<std::string> names;
  for (const auto& crd : OperatorCrds("kubestash.com")) {
    const auto name = kube::NameOf(crd);
    names.insert(name);
    EXPECT_EQ(name, StringAt(crd, "spec.names.plural") + "." + StringAt(crd, "spec.group"));
    EXPECT_TRUE(StringAt(crd, "spec.group").ends_with(".kubestash.com")) << name;
    CheckStructural(*Find(ArrayAt(crd, "spec.versions")[0], "schema.openAPIV3Schema"), name);
    EXPECT_EQ(ToJson(crd).find("thinsnap.io"), std::string::npos) << name;
  }
  const Kinds kinds("kubestash.com");
  for (const auto* type :
       {&kinds.backup_storage, &kinds.repository, &kinds.snapshot, &kinds.retention_policy,
        &kinds.backup_configuration, &kinds.backup_session, &kinds.restore_session,
        &kinds.hook_template, &kinds.addon, &kinds.function}) {
    EXPECT_TRUE(names.contains(type->resource + "." + type->group)) << type->kind;
  }
}

TEST(CrdsTest, CatalogRolesNameTheDomainsGroups) {
  bool found_role = false, found_addon = false;
  for (const auto& object : CatalogObjects("kubestash.com")) {
    const auto text = ToJson(object);
    if (StringAt(object, "kind") == "ClusterRole") {
      found_role = true;
      EXPECT_EQ(text.find(".thinsnap.io"), std::string::npos) << text;
    }
    if (StringAt(object, "kind") == "Addon") {
      found_addon = true;
      EXPECT_EQ(StringAt(object, "apiVersion"), "addons.kubestash.com/v1alpha1");
    }
  }
  EXPECT_TRUE(found_role);
  EXPECT_TRUE(found_addon);
}

}  // namespace
}  // namespace thinsnap::backup
