#include "snapshotter/operator/policy.h"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>

#include "base/data/json.h"
#include "base/data/yaml.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Json Yaml(const std::string& text) {
  auto parsed = ParseYaml(text);
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message());
  return parsed.ok() ? *parsed : Json();
}

Json Guide(const std::string& file) {
  std::ifstream stream(std::string(THINSNAP_SOURCE_DIR) + "/docs/guides/" + file);
  std::stringstream text;
  text << stream.rdbuf();
  return Yaml(text.str());
}

Json Storage(const std::string& policy) {
  return Yaml(
      "metadata: {name: s, namespace: owner}\nspec: {default: true, usagePolicy: "
      "{allowedNamespaces: " +
      policy + "}}");
}

TEST(UsagePolicyTest, SameIsTheDefault) {
  const auto storage = Yaml("metadata: {name: s, namespace: owner}\nspec: {}");
  EXPECT_TRUE(MayUse(storage, "owner", nullptr));
  EXPECT_FALSE(MayUse(storage, "other", nullptr));
  EXPECT_THAT(
      UsageRefusal(storage, "BackupStorage", "other"),
      AllOf(HasSubstr("owner/s"), HasSubstr("other"), HasSubstr("allowedNamespaces.from is Same")));
}

TEST(UsagePolicyTest, AllAndSelector) {
  EXPECT_TRUE(MayUse(Storage("{from: All}"), "other", nullptr));
  const auto selector = Storage("{from: Selector, selector: {matchLabels: {team: db}}}");
  const auto match = Yaml("metadata: {name: other, labels: {team: db, x: y}}");
  const auto mismatch = Yaml("metadata: {name: other, labels: {team: web}}");
  EXPECT_TRUE(MayUse(selector, "other", &match));
  EXPECT_FALSE(MayUse(selector, "other", &mismatch));
  EXPECT_FALSE(MayUse(selector, "other", nullptr));
}

TEST(SelectorTest, KnowsTheFourOperators) {
  const auto object = Yaml("metadata: {labels: {a: '1'}}");
  const auto matches = [&](const std::string& expression) {
    return MatchesSelector(Yaml("matchExpressions: [" + expression + "]"), object);
  };
  EXPECT_TRUE(matches("{key: a, operator: In, values: ['1', '2']}"));
  EXPECT_FALSE(matches("{key: a, operator: NotIn, values: ['1']}"));
  EXPECT_TRUE(matches("{key: b, operator: NotIn, values: ['1']}"));
  EXPECT_TRUE(matches("{key: a, operator: Exists}"));
  EXPECT_TRUE(matches("{key: b, operator: DoesNotExist}"));
  EXPECT_FALSE(matches("{key: a, operator: Near}"));
}

TEST(DefaultTest, PrefersOwnNamespaceThenSelectorThenAll) {
  std::vector<Json> all{Storage("{from: All}"),
                        Storage("{from: Selector, selector: {matchLabels: {team: db}}}")};
  const auto ns = Yaml("metadata: {name: other, labels: {team: db}}");
  EXPECT_EQ(FindDefault(all, "other", &ns), &all[1]);
  EXPECT_EQ(FindDefault(all, "other", nullptr), &all[0]);
  EXPECT_EQ(FindDefault({}, "other", nullptr), nullptr);
  all.push_back(Yaml("metadata: {name: mine, namespace: other}\nspec: {default: true}"));
  EXPECT_EQ(FindDefault(all, "other", &ns), &all[2]);
}

TEST(ValidationTest, AcceptsTheGuides) {
  for (const char* guide : {"pvc", "deployment", "statefulset"}) {
    EXPECT_THAT(ValidateBackupConfiguration(Guide(std::string(guide) + "/backup.yaml")), IsEmpty())
        << guide;
    EXPECT_THAT(ValidateRestoreSession(Guide(std::string(guide) + "/restore.yaml")), IsEmpty())
        << guide;
  }
}

TEST(ValidationTest, SaysEachMistakeOfAConfiguration) {
  const auto wrong_at = [](const std::string& path, Json value) {
    auto configuration = Guide("pvc/backup.yaml");
    if (path.starts_with("session.")) {
      Set(FindMutable(configuration, "spec.sessions")->as_array()[0], path.substr(8),
          std::move(value));
    } else {
      Set(configuration, path, std::move(value));
    }
    return ValidateBackupConfiguration(configuration);
  };
  EXPECT_THAT(wrong_at("spec.target.kind", "Postgres"),
              ElementsAre(AllOf(HasSubstr("spec.target.kind"), HasSubstr("Postgres"),
                                HasSubstr("StatefulSet"))));
  EXPECT_THAT(wrong_at("spec.target.namespace", "other"),
              ElementsAre(HasSubstr("spec.target.namespace")));
  EXPECT_THAT(wrong_at("spec.backends", JsonArray()),
              AllOf(Contains(HasSubstr("spec.backends: found none")),
                    Contains(HasSubstr("repositories[0].backend"))));
  EXPECT_THAT(wrong_at("spec.sessions", JsonArray()),
              ElementsAre(HasSubstr("spec.sessions: found none")));
  EXPECT_THAT(wrong_at("session.scheduler.schedule", ""),
              ElementsAre(HasSubstr("scheduler.schedule")));
  EXPECT_THAT(wrong_at("session.addon.tasks", JsonArray{JsonObject{{"name", "logical-backup"}}}),
              ElementsAre(AllOf(HasSubstr("tasks[0].name"), HasSubstr("logical-backup"),
                                HasSubstr("volume-snapshot"))));
  EXPECT_THAT(wrong_at("session.repositories", JsonArray()),
              ElementsAre(HasSubstr("repositories: found none")));
  EXPECT_THAT(wrong_at("session.backupTimeout", "10 minutes"),
              ElementsAre(AllOf(HasSubstr("sessions[0].backupTimeout"), HasSubstr("10 minutes"))));
  EXPECT_THAT(wrong_at("session.hooks.preBackup", JsonArray{JsonObject{{"name", "x"}}}),
              ElementsAre(HasSubstr("hooks are not run by this version")));
}

TEST(ValidationTest, RefusesTwoRepositoriesInOnePlace) {
  auto configuration = Guide("pvc/backup.yaml");
  auto& repositories =
      FindMutable(FindMutable(configuration, "spec.sessions")->as_array()[0], "repositories")
          ->as_array();
  auto second = repositories[0];
  Set(second, "name", "other");
  Set(second, "directory", "pvc-volume-snapshot-repo");
  repositories.push_back(second);
  EXPECT_THAT(
      ValidateBackupConfiguration(configuration),
      ElementsAre(AllOf(HasSubstr("repositories[1].directory"), HasSubstr("s3-repository"))));
  Set(repositories[1], "directory", "../escape");
  EXPECT_THAT(ValidateBackupConfiguration(configuration), SizeIs(1));
}

TEST(ValidationTest, SaysEachMistakeOfARestore) {
  const auto wrong_at = [](const std::string& path, Json value) {
    auto restore = Guide("pvc/restore.yaml");
    Set(restore, path, std::move(value));
    return ValidateRestoreSession(restore);
  };
  EXPECT_THAT(wrong_at("spec.dataSource.snapshot", ""),
              ElementsAre(HasSubstr("dataSource.snapshot")));
  EXPECT_THAT(wrong_at("spec.dataSource.repository", ""),
              ElementsAre(HasSubstr("dataSource.repository")));
  EXPECT_THAT(wrong_at("spec.restoreTimeout", "soon"),
              ElementsAre(AllOf(HasSubstr("restoreTimeout"), HasSubstr("soon"))));
  EXPECT_THAT(wrong_at("spec.target", JsonObject{{"name", "x"}}),
              ElementsAre(HasSubstr("spec.target")));
  EXPECT_THAT(
      wrong_at("spec.addon.tasks", JsonArray{JsonObject{{"name", "VolumeSnapshotRestore"}}}),
      ElementsAre(HasSubstr("volumeClaimTemplates: found none")));
  EXPECT_FALSE(ValidateRestoreSession(JsonObject{{"kind", "RestoreSession"}}).empty());
}

TEST(SubstituteTest, FillsInValuesAndDefaults) {
  const auto value = [](const std::string& name) -> std::optional<std::string> {
    if (name == "a") return "1";
    if (name == "empty") return "";
    return std::nullopt;
  };
  EXPECT_EQ(Substitute("--x=${a}", value), "--x=1");
  EXPECT_EQ(Substitute("${b:=two}${empty:=three}", value), "twothree");
  EXPECT_EQ(Substitute("${b}|$a|${unclosed", value), "|$a|${unclosed");
}

}  // namespace
}  // namespace thinsnap::backup
