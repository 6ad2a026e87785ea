#include "tests/unit/operator/fixture.h"

#include <atomic>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/kube/informer.h"
#include "simulator/sidecars/crds.h"
#include "snapshotter/api/crds.h"

namespace thinsnap::backup {

namespace {

using kube::ObjectKey;

std::string Flag(const std::vector<std::string>& command, const std::string& name) {
  for (const auto& word : command) {
    if (word.starts_with("--" + name + "=")) return word.substr(name.size() + 3);
  }
  return "";
}

std::string PathOf(const std::string& url) {
  const auto scheme = url.find("://");
  const auto slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return slash == std::string::npos ? "" : url.substr(slash + 1) + "/";
}

}  // namespace

class TestView final : public store::ObjectStore {
 public:
  TestView(TestStorage& storage, std::string url)
      : storage_(storage), url_(std::move(url)), prefix_(PathOf(url_)) {}

  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    TRY(Check());
    return storage_.objects_->Put(prefix_ + key, body, condition);
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    TRY(Check());
    auto object = TRY(storage_.objects_->Get(prefix_ + key, range));
    object.info.key = key;
    return object;
  }
  Result<store::ObjectInfo> Head(const std::string& key) override {
    TRY(Check());
    auto info = TRY(storage_.objects_->Head(prefix_ + key));
    info.key = key;
    return info;
  }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    TRY(Check());
    auto page =
        TRY(storage_.objects_->List(prefix_ + prefix, after.empty() ? "" : prefix_ + after));
    for (auto& object : page.objects) object.key = object.key.substr(prefix_.size());
    return page;
  }
  Status Delete(const std::string& key) override {
    TRY(Check());
    return storage_.objects_->Delete(prefix_ + key);
  }
  std::string Describe() const override { return url_; }

 private:
  Status Check() const {
    for (const auto& [url, error] : storage_.broken_) {
      if (url_.starts_with(url)) return error;
    }
    return {};
  }

  TestStorage& storage_;
  const std::string url_, prefix_;
};

TestStorage::TestStorage(Clock& clock)
    : objects_(std::make_unique<store::MemoryObjectStore>(clock)) {}

Result<std::unique_ptr<store::ObjectStore>> TestStorage::Open(const store::Location& location) {
  return std::unique_ptr<store::ObjectStore>(std::make_unique<TestView>(*this, location.url));
}

std::unique_ptr<store::ObjectStore> TestStorage::OpenUrl(const std::string& url) {
  return std::make_unique<TestView>(*this, url);
}

std::vector<std::string> TestStorage::Keys(const std::string& url) {
  TestView view(*this, url);
  std::vector<std::string> keys;
  EXPECT_TRUE(store::ListAll(view, "", [&](const store::ObjectInfo& info) -> Status {
                keys.push_back(info.key);
                return {};
              }).ok());
  return keys;
}

std::string TestStorage::Text(const std::string& url, const std::string& key) {
  TestView view(*this, url);
  const auto object = view.Get(key, std::nullopt);
  return object.ok() ? std::string(object->bytes.begin(), object->bytes.end()) : "";
}

TestCluster::TestCluster(Runtime& runtime, Random& random, TestStorage& storage)
    : runtime_(runtime), random_(random), storage_(storage) {
  options.domain = kinds.domain;
  opener_ = [this](const store::Location& location) { return storage_.Open(location); };
}

TestCluster::~TestCluster() = default;

std::vector<kube::ResourceType> TestCluster::Types() const {
  return {kinds.backup_storage,
          kinds.repository,
          kinds.snapshot,
          kinds.retention_policy,
          kinds.backup_configuration,
          kinds.backup_session,
          kinds.restore_session,
          kinds.addon,
          kinds.function,
          kube::types::kNamespace,
          kube::types::kSecret,
          kube::types::kPersistentVolume,
          kube::types::kPersistentVolumeClaim,
          kube::types::kStorageClass,
          kube::types::kClusterRole,
          kube::types::kClusterRoleBinding,
          kube::types::kRole,
          kube::types::kRoleBinding,
          kube::types::kServiceAccount,
          kube::types::kDeployment,
          kube::types::kStatefulSet,
          kube::types::kPod,
          kube::types::kService,
          kube::types::kNode,
          kube::types::kJob,
          kube::types::kCronJob,
          kube::types::kVolumeSnapshot,
          kube::types::kVolumeSnapshotContent,
          kube::types::kVolumeSnapshotClass};
}

Status TestCluster::Start() {
  apiserver::Options server_options;
  server_options.without_http = true;
  server_ = TRY(apiserver::ApiServer::Start(runtime_, random_, server_options));
  client_ = apiserver::MakeInProcessKubeClient(*server_, "test");
  events_ = std::make_unique<kube::EventRecorder>(*client_, runtime_.clock(), random_,
                                                  "thinsnap-operator");
  backends_ = std::make_unique<Backends>(runtime_, random_, *client_, opener_);
  auto crds = OperatorCrds(kinds.domain);
  for (auto& crd : sidecars::SnapshotCrds()) crds.push_back(std::move(crd));
  TRY(sidecars::InstallCrds(runtime_, *client_, crds));
  for (const char* ns : {"thinsnap-system", "demo"}) {
    TRY(EnsureExists(*client_, kube::types::kNamespace,
                     kube::NewObject(kube::types::kNamespace, {"", ns})));
  }
  for (const auto& object : CatalogObjects(kinds.domain)) {
    for (const auto& type : Types()) {
      if (type.kind != StringAt(object, "kind")) continue;
      TRY(EnsureExists(*client_, type, object));
    }
  }
  return {};
}

void TestCluster::Apply(const std::string& yaml) {
  const auto documents = ParseYamlStream(yaml);
  ASSERT_OK(documents);
  for (const auto& object : *documents) {
    bool known = false;
    for (const auto& type : Types()) {
      if (type.kind != StringAt(object, "kind")) continue;
      known = true;
      ASSERT_OK(client_->Create(type, object));
    }
    ASSERT_TRUE(known) << StringAt(object, "kind");
  }
}

void TestCluster::ApplyGuide(const std::string& file) {
  std::ifstream stream(std::string(THINSNAP_SOURCE_DIR) + "/docs/guides/" + file);
  ASSERT_TRUE(stream) << file;
  std::stringstream text;
  text << stream.rdbuf();
  auto content = text.str();
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"${ENDPOINT}", "http://127.0.0.1:9000"},
                                          {"${BUCKET}", "bucket"},
                                          {"${ACCESS_KEY}", "key"},
                                          {"${SECRET_KEY}", "secret"},
                                          {"${PASSPHRASE}", "open sesame"}}) {
    for (auto at = content.find(name); at != std::string::npos; at = content.find(name)) {
      content.replace(at, name.size(), value);
    }
  }
  Apply(content);
}

Json TestCluster::Get(const kube::ResourceType& type, const std::string& ns,
                      const std::string& name) {
  auto object = client_->Get(type, {ns, name});
  EXPECT_TRUE(object.ok()) << type.kind << " " << name << ": "
                           << (object.ok() ? "" : object.error().message());
  return object.ok() ? *object : Json();
}

bool TestCluster::Exists(const kube::ResourceType& type, const std::string& ns,
                         const std::string& name) {
  return client_->Get(type, {ns, name}).ok();
}

std::vector<Json> TestCluster::List(const kube::ResourceType& type, const std::string& ns) {
  auto list = client_->List(type, ns);
  EXPECT_TRUE(list.ok()) << type.kind;
  return list.ok() ? std::move(list->items) : std::vector<Json>();
}

void TestCluster::Edit(const kube::ResourceType& type, const std::string& ns,
                       const std::string& name, const std::function<void(Json&)>& change,
                       const std::string& subresource) {
  auto object = Get(type, ns, name);
  change(object);
  ASSERT_OK(client_->Update(type, object, subresource));
}

void TestCluster::Delete(const kube::ResourceType& type, const std::string& ns,
                         const std::string& name) {
  ASSERT_OK(client_->Delete(type, {ns, name}));
}

Status TestCluster::RunVerb(VerbContext& context, const Json& job) {
  std::vector<std::string> command;
  for (const auto& word : ArrayAt(ArrayAt(job, "spec.template.spec.containers")[0], "command")) {
    command.emplace_back(std::string_view(word.get_string()));
  }
  const auto& verb = command.at(1);
  const auto ns = Flag(command, "namespace");
  if (verb == "trigger") {
    return RunTrigger(context, {ns, Flag(command, "backup-configuration")},
                      Flag(command, "session"));
  }
  if (verb == "init") return RunInit(context, {ns, Flag(command, "backup-storage")});
  if (verb == "backup") {
    return RunBackup(context, {ns, Flag(command, "backupsession")},
                     Flag(command, "volume-snapshot-class-name"));
  }
  if (verb == "restore") return RunRestore(context, {ns, Flag(command, "restoresession")});
  if (verb == "retention") {
    return RunRetention(context, {ns, Flag(command, "repository")}, Flag(command, "policy-name"),
                        Flag(command, "policy"));
  }
  return Error(Code::kUnimplemented, "no verb " + verb);
}

void TestCluster::EndJob(const Json& job, const Status& outcome) {
  Edit(
      kube::types::kJob, kube::NamespaceOf(job), kube::NameOf(job),
      [&](Json& object) {
        const JsonObject condition{{"type", outcome.ok() ? "Complete" : "Failed"},
                                   {"status", "True"},
                                   {"reason", outcome.ok() ? "Completed" : "BackoffLimitExceeded"},
                                   {"message", outcome.ok() ? "" : outcome.error().message()}};
        const JsonObject target{{"type", outcome.ok() ? "SuccessCriteriaMet" : "FailureTarget"},
                                {"status", "True"}};
        Set(object, "status.conditions", JsonArray{target, condition});
        Set(object, outcome.ok() ? "status.succeeded" : "status.failed", 1);
        Set(object, "status.startTime", Json(FormatRfc3339(runtime_.clock().Now())));
        if (outcome.ok())
          Set(object, "status.completionTime", Json(FormatRfc3339(runtime_.clock().Now())));
      },
      "status");
}

void TestCluster::RunJobs() {
  for (const auto& job : List(kube::types::kJob)) {
    if (StateOfJob(job) != JobState::kRunning) continue;
    Status outcome;
    {
      auto changed = runtime_.NewEventCount();
      std::atomic<bool> done = false;
      TaskGroup group(runtime_);
      kube::Informer snapshots(runtime_, *client_, kube::types::kVolumeSnapshot);
      kube::Informer claims(runtime_, *client_, kube::types::kPersistentVolumeClaim);
      for (auto* informer : {&snapshots, &claims}) {
        informer->AddHandler(
            [&](const kube::ObjectPtr&, const kube::ObjectPtr&) { changed->Notify(); });
        informer->Start(group);
      }
      TaskGroup work(runtime_);
      work.Spawn(kube::NameOf(job), [&] {
        VerbContext context{runtime_, random_, *client_, kinds, opener_, work};
        outcome = RunVerb(context, job);
        done = true;
        changed->Notify();
      });
      while (!done) {
        const auto seen = changed->Seen();
        if (world) world();
        if (done) break;
        ASSERT_OK(changed->Wait(seen));
      }
      work.Join();
      group.Stop();
      group.Join();
    }
    EndJob(job, outcome);
  }
}

void TestCluster::Settle(int rounds) {
  auto operator_context = context();
  const std::vector<
      std::pair<kube::ResourceType, Result<kube::Requeue> (*)(Context&, const ObjectKey&)>>
      reconcilers{{kinds.backup_storage, ReconcileBackupStorage},
                  {kinds.repository, ReconcileRepository},
                  {kinds.snapshot, ReconcileSnapshot},
                  {kinds.backup_configuration, ReconcileBackupConfiguration},
                  {kinds.backup_session, ReconcileBackupSession},
                  {kinds.restore_session, ReconcileRestoreSession}};
  std::string before;
  for (int round = 0; round < rounds; ++round) {
    std::string versions;
    for (const auto& [type, reconcile] : reconcilers) {
      for (const auto& object : List(type)) {
        const auto outcome = reconcile(operator_context, kube::KeyOf(object));
        // A lost race is repeated by the loop; everything else a reconciler says in a condition.
        if (!outcome.ok()) {
          EXPECT_TRUE(outcome.Is(Code::kAborted) || outcome.Is(Code::kUnavailable))
              << outcome.error().ToString();
        }
      }
    }
    if (run_jobs) RunJobs();
    if (world) world();
    for (const auto& [type, reconcile] : reconcilers) {
      for (const auto& object : List(type))
        versions += kube::UidOf(object) + "@" + kube::ResourceVersionOf(object) + " ";
    }
    for (const auto* type :
         {&kube::types::kJob, &kube::types::kVolumeSnapshot, &kube::types::kVolumeSnapshotContent,
          &kube::types::kPersistentVolumeClaim}) {
      for (const auto& object : List(*type)) {
        versions += kube::UidOf(object) + "@" + kube::ResourceVersionOf(object) + " ";
      }
    }
    if (versions == before) return;
    before = versions;
  }
}

std::string TestCluster::ConditionMessage(const Json& object, const std::string& type) {
  const auto* condition = kube::FindCondition(object, type);
  return condition == nullptr ? "" : StringAt(*condition, "message");
}

std::vector<std::string> TestCluster::EventMessages() {
  std::vector<std::string> messages;
  for (const auto& event : List(kube::types::kEvent))
    messages.push_back(StringAt(event, "message"));
  return messages;
}

}  // namespace thinsnap::backup
