#include "tests/system/backup_fixture.h"

#include <algorithm>
#include <utility>

#include "base/core/file.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "snapshotter/store/location.h"

namespace thinsnap::system_test {
namespace {

bool Says(const std::string& text, const std::vector<std::string>& pieces) {
  return std::all_of(pieces.begin(), pieces.end(), [&](const std::string& piece) {
    return text.find(piece) != std::string::npos;
  });
}

}  // namespace

std::unique_ptr<s3::S3Server> BackupTest::StartBucket(const std::string& name) {
  s3::S3Options options;
  options.data_folder = folder() + "/" + name;
  options.buckets = {"bucket"};
  options.access_key_id = "guide";
  options.secret_access_key = Secret("not-a-secret");
  auto server = s3::StartS3Server(runtime_, random_, std::move(options));
  EXPECT_TRUE(server.ok()) << server.error().ToString();
  return server.ok() ? std::move(*server) : nullptr;
}

void BackupTest::Prepare(const std::string& pool_size, const std::string& claim_size) {
  claim_size_ = claim_size;
  server_ = StartBucket("s3");
  ASSERT_NE(server_, nullptr);
  StartUp(1, {"--pool-size", pool_size});
  ASSERT_EQ(Kubectl({"create", "namespace", "demo"}).exit_code, 0);
  std::string source = Guide("pvc/source.yaml");
  source.replace(source.find("storage: 1Gi"), 12, "storage: " + claim_size);
  Apply(Guide("common/storage.yaml") + "\n---\n" + Guide("common/secrets.yaml") + "\n---\n" +
        Guide("common/backend.yaml") + "\n---\n" + source);
}

std::string BackupTest::Guide(const std::string& file) {
  auto text = ReadFile(std::string(THINSNAP_SOURCE_DIR) + "/docs/guides/" + file);
  EXPECT_TRUE(text.ok());
  std::string filled = text.ok() ? *text : std::string();
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"${ENDPOINT}", "http://127.0.0.1:" + std::to_string(server_->port())},
           {"${BUCKET}", "bucket"},
           {"${ACCESS_KEY}", "guide"},
           {"${SECRET_KEY}", "not-a-secret"},
           {"${PASSPHRASE}", "open sesame"},
           // Sessions are triggered here: no schedule may come between.
           {"*/5 * * * *", "0 0 1 1 *"}}) {
    for (auto at = filled.find(name); at != std::string::npos; at = filled.find(name))
      filled.replace(at, name.size(), value);
  }
  return filled;
}

Json BackupTest::Edited(const std::string& file, const Mistake& mistake) {
  const auto text = Guide(file);
  auto parsed = ParseYaml(text.substr(0, text.find("\n---\n")));
  EXPECT_TRUE(parsed.ok());
  Json object = parsed.ok() ? *parsed : Json(JsonObject());
  Set(object, "metadata.name", Json(mistake.name));
  if (StringAt(object, "kind") == "BackupStorage") {
    Set(object, "spec.default", false);
    Set(object, "spec.storage.s3.prefix", Json(mistake.name));
  }
  if (auto* sessions = FindMutable(object, "spec.sessions")) {
    auto& repository = FindMutable(sessions->as_array()[0], "repositories")->as_array()[0];
    Set(repository, "name", Json("repository-" + mistake.name));
    Set(repository, "directory", Json("/" + mistake.name));
  }
  mistake.edit(object);
  return object;
}

Json& BackupTest::Session(Json& configuration) {
  return FindMutable(configuration, "spec.sessions")->as_array()[0];
}

Json& BackupTest::ClaimTemplate(Json& restore) {
  auto& task = FindMutable(restore, "spec.addon.tasks")->as_array()[0];
  return FindMutable(task, "targetVolumes.volumeClaimTemplates")->as_array()[0];
}

void BackupTest::ExpectSaid(const kube::ResourceType& type, const std::string& file,
                            const std::vector<Mistake>& mistakes) {
  JsonArray items;
  for (const auto& mistake : mistakes) items.push_back(Edited(file, mistake));
  Apply(ToJson(JsonObject{{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}}));
  for (const auto& mistake : mistakes) ExpectSaid(type, mistake);
}

void BackupTest::ExpectSaid(const kube::ResourceType& type, const Mistake& mistake) {
  SCOPED_TRACE(mistake.name);
  Json last;
  ASSERT_TRUE(WaitFor(type, {"demo", mistake.name}, [&](const Json* object) {
    last = object == nullptr ? Json() : *object;
    return object != nullptr && Says(Message(*object, mistake.condition), mistake.said);
  }));
  const auto events = client().List(kube::types::kEvent, "demo",
                                    {.label_selector = "",
                                     .field_selector = "involvedObject.uid=" + kube::UidOf(last),
                                     .resource_version = ""});
  ASSERT_TRUE(events.ok());
  bool event = false;
  for (const auto& item : events->items) {
    event = event ||
            (StringAt(item, "type") == "Warning" && Says(StringAt(item, "message"), mistake.said));
  }
  EXPECT_TRUE(event) << "no Warning says it";
}

bool BackupTest::WaitForWarning(const std::string& object, const std::vector<std::string>& said) {
  return Eventually("a Warning about " + object + " that says " + said.front(), [&] {
    const auto events = client().List(kube::types::kEvent, "demo",
                                      {.label_selector = "",
                                       .field_selector = "involvedObject.name=" + object,
                                       .resource_version = ""});
    return events.ok() &&
           std::any_of(events->items.begin(), events->items.end(), [&](const Json& item) {
             return StringAt(item, "type") == "Warning" && Says(StringAt(item, "message"), said);
           });
  });
}

bool BackupTest::Eventually(const std::string& what, const std::function<bool()>& check) {
  const MonoTime deadline = clock_.MonoNow() + std::chrono::minutes(2);
  do {
    if (check()) return true;
  } while (clock_.MonoNow() < deadline && runtime_.SleepFor(std::chrono::milliseconds(50)).ok());
  ADD_FAILURE() << "waited in vain for " << what;
  return false;
}

std::string BackupTest::Message(const Json& object, const std::string& condition) {
  const auto* found = kube::FindCondition(object, condition);
  if (found != nullptr) return StringAt(*found, "message");
  for (const auto& session : ArrayAt(object, "status.sessions")) {
    for (const auto& item : ArrayAt(session, "conditions")) {
      if (StringAt(item, "type") == condition) return StringAt(item, "message");
    }
  }
  return "";
}

bool BackupTest::WaitForPhase(const kube::ResourceType& type, const std::string& name,
                              const std::string& phase) {
  return WaitFor(type, {"demo", name}, [&](const Json* object) {
    return object != nullptr && StringAt(*object, "status.phase") == phase;
  });
}

std::string BackupTest::BackUp(const std::string& name, const std::string& phase,
                               const std::string& configuration) {
  Apply(R"(
apiVersion: core.kubestash.com/v1alpha1
kind: BackupSession
metadata: {name: )" +
        name + R"(, namespace: demo, labels: {kubestash.com/invoker-name: )" + configuration +
        R"(}}
spec:
  invoker: {apiGroup: core.kubestash.com, kind: BackupConfiguration, name: )" +
        configuration + R"(}
  session: frequent-backup
)");
  EXPECT_TRUE(WaitForPhase(kinds_.backup_session, name, phase));
  const auto session = client().Get(kinds_.backup_session, {"demo", name});
  if (!session.ok()) return "";
  const auto& snapshots = ArrayAt(*session, "status.snapshots");
  return snapshots.empty() ? "" : StringAt(snapshots[0], "name");
}

void BackupTest::PrepareBackup() {
  Apply(Guide("pvc/backup.yaml"));
  ASSERT_TRUE(WaitForPhase(kinds_.backup_configuration, "pvc-volume-snapshot", "Ready"));
  ASSERT_TRUE(WaitForPodPhase("source-pod", "Running", "demo"));
}

void BackupTest::Restore(const std::string& name, const std::string& snapshot) {
  Apply(ToJson(
      Edited("pvc/restore.yaml", {name,
                                  [&](Json& object) {
                                    Set(object, "spec.dataSource.snapshot", Json(snapshot));
                                    Set(ClaimTemplate(object), "metadata.name", Json(name));
                                    Set(ClaimTemplate(object), "spec.resources.requests.storage",
                                        Json(claim_size_));
                                  },
                                  "",
                                  {}})));
}

void BackupTest::InPod(const std::string& command) {
  const auto ran = Kubectl({"exec", "-n", "demo", "source-pod", "--", "sh", "-c", command});
  EXPECT_EQ(ran.exit_code, 0) << command << ": " << ran.err;
}

std::unique_ptr<store::ObjectStore> BackupTest::Bucket(const std::string& path) {
  store::Location location;
  location.url = "s3+http://127.0.0.1:" + std::to_string(server_->port()) + "/bucket/" + path;
  location.credentials.access_key_id = "guide";
  location.credentials.secret_access_key = Secret("not-a-secret");
  auto opened = store::OpenStore(runtime_, random_, location);
  EXPECT_TRUE(opened.ok());
  return opened.ok() ? std::move(*opened) : nullptr;
}

}  // namespace thinsnap::system_test
