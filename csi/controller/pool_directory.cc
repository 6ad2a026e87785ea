#include "csi/controller/pool_directory.h"

#include <utility>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::controller {

PoolDirectory::PoolDirectory(Runtime& runtime, kube::KubeClient& client, const std::string& ns,
                             NodeConnector connect)
    : pools_(runtime, client, kube::types::kThinPool),
      lost_(runtime, client, kube::types::kConfigMap, ns, "",
            std::string("metadata.name=") + driver::kLostPoolsName),
      lost_key_{ns, driver::kLostPoolsName},
      connect_(std::move(connect)) {}

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
  return pools;
}

NodePtr PoolDirectory::Connect(const std::string& address) {
  const std::lock_guard lock(mutex_);
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
