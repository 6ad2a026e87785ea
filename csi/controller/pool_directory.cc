#include "csi/controller/pool_directory.h"

#include <set>
#include <utility>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::controller {

bool IsUnheard(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded ||
         error.code() == Code::kUnknownOutcome;
}

PoolDirectory::PoolDirectory(Runtime& runtime, kube::KubeClient& client, const std::string& ns,
                             NodeConnector connect, Duration silence)
    : runtime_(runtime),
      silence_(silence),
      pools_(runtime, client, kube::types::kThinPool),
      lost_(runtime, client, kube::types::kConfigMap, ns, "",
            std::string("metadata.name=") + driver::kLostPoolsName),
      lost_key_{ns, driver::kLostPoolsName},
      connect_(std::move(connect)) {
  pools_.AddHandler(
      [this](const kube::ObjectPtr& old, const kube::ObjectPtr& current) { Heard(old, current); });
}

void PoolDirectory::Heard(const kube::ObjectPtr& old, const kube::ObjectPtr& current) {
  constexpr char kHeartbeat[] = "status.heartbeatTime";
  const std::lock_guard lock(mutex_);
  if (!current) {
    heard_.erase(pool::PoolId(kube::NameOf(*old)));
  } else if (!old || StringAt(*old, kHeartbeat) != StringAt(*current, kHeartbeat)) {
    heard_[pool::PoolId(kube::NameOf(*current))] = runtime_.clock().MonoNow();
  }
}

void PoolDirectory::Start(TaskGroup& group) {
  pools_.Start(group);
  lost_.Start(group);
}

Status PoolDirectory::WaitForSync(MonoTime deadline) {
  TRY(pools_.WaitForSync(deadline));
  return lost_.WaitForSync(deadline);
}

bool PoolDirectory::IsLost(const pool::PoolId& id) const {
  const kube::ObjectPtr lost = lost_.Get(lost_key_);
  const JsonObject* data = lost ? FindObject(*lost, "data") : nullptr;
  return data != nullptr && data->contains(id.str());
}

std::vector<driver::PoolRecord> PoolDirectory::Pools() const {
  std::vector<driver::PoolRecord> pools;
  for (const kube::ObjectPtr& object : pools_.List()) {
    driver::PoolRecord record = driver::ReadPoolObject(*object);
    if (!IsLost(record.id)) pools.push_back(std::move(record));
  }
  const MonoTime now = runtime_.clock().MonoNow();
  const std::lock_guard lock(mutex_);
  for (driver::PoolRecord& record : pools) {
    const auto heard = heard_.find(record.id);
    record.silent = heard != heard_.end() && now - heard->second > silence_;
  }
  return pools;
}

NodePtr PoolDirectory::Connect(const std::string& address) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = connections_.find(address); found != connections_.end()) {
      return found->second;
    }
  }
  std::set<std::string> known = {address};
  for (const kube::ObjectPtr& object : pools_.List()) {
    known.insert(StringAt(*object, "spec.address"));
  }
  std::vector<NodePtr> left;  // closed when the lock is gone
  const std::lock_guard lock(mutex_);
  std::erase_if(connections_, [&](auto& connection) {
    if (known.contains(connection.first)) return false;
    left.push_back(std::move(connection.second));
    return true;
  });
  NodePtr& connection = connections_[address];
  if (!connection) connection = connect_(address);
  return connection;
}

Result<NodePtr> PoolDirectory::Node(const pool::PoolId& id) {
  const kube::ObjectPtr object = pools_.Get({"", id.str()});
  if (!object) {
    return Error(Code::kUnavailable,
                 "pool " + id.str() +
                     " is not known: no ThinPool object has its id, and it is not declared lost");
  }
  const driver::PoolRecord record = driver::ReadPoolObject(*object);
  if (record.address.empty()) {
    return Error(Code::kUnavailable,
                 "pool " + id.str() + " on node " + record.node + " has no address yet");
  }
  return Connect(record.address);
}

}  // namespace thinsnap::controller
