#include "snapshotter/api/validation.h"

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
  EXPECT_THAT(wrong_at("session.name", "Not_A_Name"),
              ElementsAre(AllOf(HasSubstr("sessions[0].name"), HasSubstr("Not_A_Name"))));
  EXPECT_THAT(wrong_at("session.sessionHistoryLimit", -1),
              ElementsAre(HasSubstr("sessionHistoryLimit: found -1")));
  EXPECT_THAT(wrong_at("session.scheduler.concurrencyPolicy", "Perhaps"),
              ElementsAre(AllOf(HasSubstr("concurrencyPolicy"), HasSubstr("Forbid"))));
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

TEST(ValidationTest, SaysEachMistakeOfAClaimTemplate) {
  const auto wrong_at = [](const std::string& path, Json value) {
    auto restore = Guide("pvc/restore.yaml");
    auto& task = FindMutable(restore, "spec.addon.tasks")->as_array()[0];
    Set(FindMutable(task, "targetVolumes.volumeClaimTemplates")->as_array()[0], path,
        std::move(value));
    return ValidateRestoreSession(restore);
  };
  EXPECT_THAT(wrong_at("metadata.name", "data-${POD_ORDINAL}"), IsEmpty());
  EXPECT_THAT(
      wrong_at("metadata.name", "Data"),
      ElementsAre(AllOf(HasSubstr("volumeClaimTemplates[0].metadata.name"), HasSubstr("Data"))));
  EXPECT_THAT(wrong_at("metadata.name", "a..b"), SizeIs(1));
  EXPECT_THAT(wrong_at("spec.accessModes", JsonArray()),
              ElementsAre(HasSubstr("spec.accessModes: found none")));
  EXPECT_THAT(wrong_at("spec.accessModes", JsonArray{Json("Bogus")}),
              ElementsAre(AllOf(HasSubstr("Bogus"), HasSubstr("ReadWriteOnce"))));
  EXPECT_THAT(wrong_at("spec.dataSource", JsonObject{{"name", "x"}}),
              ElementsAre(HasSubstr("spec.dataSource")));
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

}  // namespace
}  // namespace thinsnap::backup
